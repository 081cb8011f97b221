"""Which options ``--help`` shows of a command that has many. ``--help-all`` shows all of them."""

from __future__ import annotations

MOST_OPTIONS = 12
"""Options on the first screen. A command with no more than these shows all of them there."""

_OF_STEPS = "n_workers dry_run overwrite config"

FIRST_SCREEN = {
    "run": "video_dir output_path include fixed_stride_split_duration embedding_algorithm rule eps keep against split "
    "n_workers dry_run",
    "split": "video_dir output_path include fixed_stride_split_duration transcode_encoder embedding_algorithm "
    f"generate_embeddings {_OF_STEPS}",
    "embed": f"input_path output_path embedding_algorithm model_dir torch_device tracks {_OF_STEPS}",
    "align": f"input_path output_path reference_path strictness min_still_likeness mirrored {_OF_STEPS}",
    "kmeans": f"input_path output_path n_clusters id_field embedding_field metadata_fields random_state {_OF_STEPS}",
    "pairwise": f"input_path output_path which_to_keep keep clips_path cross_cluster eps {_OF_STEPS}",
    "identify": "input_path kmeans_path output_path rule eps target_keep overlaps_path overrides clips_path sweep "
    "n_workers dry_run",
    "dedup-new": f"input_path kmeans_path duplicates_path output_path eps rule clips_path {_OF_STEPS}",
    "export": f"input_path output_path duplicates_path all_clips format split metadata min_shards {_OF_STEPS}",
    "inspect": f"path previews max_groups {_OF_STEPS}",
    "sample": "path size temperature max_per_cluster seed output_path dry_run overwrite config json",
    "plan": "clips dim hours n_clusters rule cross_cluster cores gpus within_hours rates probe json",
    "calibrate": f"input_path output_path embedding_algorithm model_dir num_clips known_duplicates {_OF_STEPS}",
}
"""By command: the parameters that most people set, by their names in Python."""
