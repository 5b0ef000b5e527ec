"""The mixture in other programs: frozen scorers, C, ONNX, scikit-learn, mclust."""
