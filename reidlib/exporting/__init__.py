"""Models and embeddings out: ONNX for convolutional networks, NIR for spiking ones, Parquet tables of embeddings.

What needs packages beyond reidlib's own (`pip install reidlib[export]`) imports them at first use and names the one that is missing.
Command line: `python -m reidlib.exporting --help`.
"""

from reidlib.exporting.nir_graph import NirExport, nir_parts, reachable_stages, to_nir
from reidlib.exporting.onnx_file import to_onnx
from reidlib.exporting.parquet import embeddings_to_parquet, read_embeddings

__all__ = ["NirExport", "embeddings_to_parquet", "nir_parts", "reachable_stages", "read_embeddings", "to_nir", "to_onnx"]
