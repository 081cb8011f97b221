"""What a run of a given size needs: time, disk, memory and GPUs per stage, from measured rates. Nothing is run."""
