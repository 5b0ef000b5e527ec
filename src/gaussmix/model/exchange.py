"""The forms in which a `Mixture` leaves the library and comes back, loaded when first asked for."""

from __future__ import annotations


class Exchange:
    """Model files, JSON, C, ONNX, and the parameters of scikit-learn and mclust."""

    __slots__ = ()

    def save(self, path, *, feature_names=None) -> None:
        """Write the mixture to a model file, completely or not at all; `gaussmix.load` reads it.

        Parameters
        ----------
        path : str or path-like
            By custom it ends in ``.gmix``. A symbolic link is followed; an older file is replaced,
            and stays whole if anything goes wrong.
        feature_names : sequence of D str, optional
            Names of the columns, kept with the mixture.

        Raises
        ------
        InvalidInputError
            If the names do not fit, or `path` is something else than a regular file.
        OSError
            If the directory is absent, full or not writable.
        """
        from ..files.container import write

        write(path, self._record(feature_names))

    def _record(self, feature_names=None):
        from ..files.records import mixture_record

        return mixture_record(self, feature_names)

    @classmethod
    def _of_record(cls, record):
        from ..files.records import mixture_of

        return mixture_of(record, cls)

    def to_json(self, *, feature_names=None) -> str:
        """The mixture as JSON to be read by eye: every number in its shortest exact decimals.

        Parameters
        ----------
        feature_names : sequence of D str, optional

        Returns
        -------
        str
            An object of "format", "covariance_type", "weights", "means", "covariances" and perhaps
            "feature_names". `from_json` makes the same mixture of it, to the bit.
        """
        from ..embedding.interchange import to_json

        return to_json(self, feature_names)

    @classmethod
    def from_json(cls, text):
        """The mixture that `to_json` wrote, checked as strictly as a model file.

        Parameters
        ----------
        text : str or bytes

        Raises
        ------
        ModelFileError
            If it is not such JSON, or does not hold a valid mixture.
        """
        from ..embedding.interchange import from_json

        return from_json(cls, text)

    @classmethod
    def from_arrays(cls, pro, mean, sigma, covariance_type: str = "full"):
        """A mixture of parameters as mclust (R) has them, with the components along the last axis.

        Parameters
        ----------
        pro : array_like (K,)
            ``parameters$pro``: weights.
        mean : array_like (D, K); (K,) if D = 1
            ``parameters$mean``.
        sigma : array_like (D, D, K)
            ``parameters$variance$sigma``; in one dimension ``sigmasq``, (K,) or one for all.
        covariance_type : {"full", "tied", "diag", "spherical"}
            What to make of them: VVV is "full", EEE "tied", VVI "diag", VII "spherical". More
            constrained models fit into these.

        Raises
        ------
        InvalidInputError
            If shapes do not fit, parameters are not valid, or the matrices are not of that type:
            different, with correlations, or with several variances. Names the component.

        Examples
        --------
        >>> import gaussmix as gm
        >>> gm.Mixture.from_arrays([0.4, 0.6], [[0, 5]], [[[1, 2]]], "diag").means.tolist()
        [[0.0], [5.0]]
        """
        from ..embedding.interchange import from_arrays

        return from_arrays(cls, pro, mean, sigma, covariance_type)

    def to_sklearn(self):
        """A fitted `sklearn.mixture.GaussianMixture` of the same parameters (extra ``sklearn``).

        Its `lower_bound_` is NaN and its `n_iter_` 0: it has seen no data.
        """
        from ..embedding.interchange import to_sklearn

        return to_sklearn(self)

    @classmethod
    def from_sklearn(cls, estimator):
        """The mixture of a fitted scikit-learn mixture (GaussianMixture or a Bayesian one).

        Raises
        ------
        InvalidInputError
            If the estimator is not fitted, or its parameters are no valid mixture.
        """
        from ..embedding.interchange import from_sklearn

        return from_sklearn(cls, estimator)

    def to_c(self, name: str = "mixture", dtype: str = "float64") -> str:
        """The mixture as one C99 file that needs nothing but ``math.h``: for firmware, for others.

        Parameters
        ----------
        name : str
            What the functions are called after: a letter, then up to 39 letters, digits and "_".
        dtype : {"float64", "float32"}
            Of all arguments and arithmetic. In float32 a row is held, like the means, to 6e-8 of
            itself: take off offsets of many standard deviations before the fit.

        Returns
        -------
        str
            Functions ``<name>_logpdf(x)``, ``<name>_responsibilities(x, out)``,
            ``<name>_predict(x)`` and ``<name>_nearest(x, gate)`` of one row, the macros
            ``<NAME>_N_COMPONENTS`` and ``<NAME>_N_FEATURES``, and numbers in exact hexadecimals.

        Raises
        ------
        InvalidInputError
            If `name` will not do, or a number overflows or vanishes in float32.

        Warns
        -----
        PrecisionWarning
            If a standard deviation is below 1000 units in the last place of its mean in float32.

        Notes
        -----
        O(K D^2) a row; tied covariances D^2 + K D. Nothing is allocated; results are those of the
        library to rounding. Numbers that are not finite give NaN and the label -1.
        """
        from ..embedding.c_code import to_c

        return to_c(self, name, dtype)

    def to_onnx(self, dtype: str = "float64"):
        """The mixture as an ONNX graph, an `onnx.ModelProto` (extra ``onnx``).

        Parameters
        ----------
        dtype : {"float64", "float32"}
            Of the input and the arithmetic.

        Returns
        -------
        onnx.ModelProto
            From "X" (N, D) to "label" (N,) int64, "log_density" (N,) and "responsibilities" (N, K);
            opset 18. ``model.SerializeToString()`` are the bytes that runtimes load.

        Raises
        ------
        ImportError
            If onnx is not installed.
        InvalidInputError
            If a number overflows or vanishes in float32.

        Warns
        -----
        PrecisionWarning
            As by `to_c`.

        Notes
        -----
        Results are those of the library to rounding. A row with NaN or an infinity, and one so far
        out that its squared distances overflow, gives NaN.
        """
        from ..embedding.onnx_graph import to_onnx

        return to_onnx(self, dtype)
