"""How fast the stages are on a GPU, compared with what the GPU can do at most."""
