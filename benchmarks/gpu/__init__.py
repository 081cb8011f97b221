"""What the stages do on a GPU, beside what the GPU itself can do."""
