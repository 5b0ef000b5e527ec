"""python setup.py build_ext --inplace && python run.py; needs gaussmix, Cython and a C compiler."""

from Cython.Build import cythonize
from setuptools import Extension, setup

import gaussmix

module = Extension("outliers", ["outliers.pyx"], include_dirs=[gaussmix.get_include()])
setup(name="outliers", ext_modules=cythonize([module]))
