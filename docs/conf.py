"""How Sphinx builds the guide: ``sphinx-build -W --keep-going -b html docs build/docs``.

Code on a page is run twice: by matplotlib's plot directive, which draws the pictures, and by
``sphinx-build -W -b doctest docs build/doctest``, which compares what it prints with the page.
"""

import warnings

import gaussmix
from gaussmix.errors import GaussmixWarning

project = "gaussmix"
author = "The gaussmix developers"
version = release = gaussmix.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "matplotlib.sphinxext.plot_directive",
]

# Markdown
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3

# Reference
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # numpydoc says what arguments are
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Code on the pages. A warning of gaussmix there is an error.
warnings.simplefilter("error", GaussmixWarning)
plot_include_source = True
plot_html_show_formats = False
plot_html_show_source_link = False
plot_formats = [("png", 120)]
plot_rcparams = {
    "figure.figsize": (7.0, 4.2),
    "figure.constrained_layout.use": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": "cycler('color', ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00'])",
    "legend.frameon": False,
}
plot_apply_rcparams = True
doctest_test_doctest_blocks = "default"
trim_doctest_flags = True

# Pages
html_theme = "furo"
html_title = "gaussmix"
html_copy_source = False
html_show_sourcelink = False
exclude_patterns = ["_build"]
