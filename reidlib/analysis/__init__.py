"""What the notebooks compute from trained models: comparisons with intervals, views of embeddings, maps of attention."""
