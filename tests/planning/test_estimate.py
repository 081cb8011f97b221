"""What a plan says: how work grows, what GPUs take over, and which inputs are refused."""

from __future__ import annotations

import json

import pytest

from curator_dask.cli.output.plan_report import assumptions_of
from curator_dask.errors import InputError, ParameterError
from curator_dask.planning.estimate import RunPlan, plan_run
from curator_dask.planning.probe import measure_rates
from curator_dask.planning.rates import StageRates, read_rates
from curator_dask.planning.run_size import RunSize


def stage(plan: RunPlan, name: str):
    (found,) = (one for one in plan.stages if one.stage == name)
    return found


class TestGrowth:
    def test_a_worked_example(self):
        """Nothing but arithmetic: a million rows of 500 numbers in 1,000 clusters are 5 * 10^11 operations within clusters, of
        which products of one-byte numbers leave .89 of the time."""
        rates = StageRates(gflops_per_core=100, pass_core_s_per_gb=10, cluster_core_s=0.01)
        pairwise = stage(plan_run(RunSize(clips=1e6, dim=500, align=False), rates), "pairwise")
        assert pairwise.core_hours * 3600 == pytest.approx(0.89 * 5e11 / 1e11 + 10 * 2.0 + 1000 * 0.01)
        assert pairwise.gpu_hours * 3600 == pytest.approx(5e11 / 20e12)

    @pytest.mark.parametrize(
        ("name", "factor"), [("split", 10), ("embed", 10), ("identify", 10), ("export", 10), ("pairwise", 100)]
    )
    def test_ten_times_the_clips(self, name, factor):
        small, large = (
            stage(plan_run(RunSize(clips=clips, align=False, n_clusters=1000)), name) for clips in (1e9, 1e10)
        )
        assert large.core_hours / small.core_hours == pytest.approx(factor, rel=0.05)

    def test_the_fit_of_kmeans_does_not_grow(self):
        one, ten = (plan_run(RunSize(clips=clips, align=False, n_clusters=1000)) for clips in (1e7, 1e8))
        # The assignment of all rows grows; the sample of up to 512,000 rows stays.
        grown = stage(ten, "kmeans").product_hours - stage(one, "kmeans").product_hours
        assert grown == pytest.approx(2 * 9e7 * 1000 * 512 / 65e9 / 3600)

    def test_the_first_centroids_grow_with_the_square_of_the_clusters(self):
        def client_hours(k: int) -> float:
            return stage(plan_run(RunSize(clips=1e9, align=False, n_clusters=k)), "kmeans").client_hours

        assert client_hours(4000) / client_hours(400) == pytest.approx(100)
        # From 4,096 on they are drawn group by group.
        assert client_hours(40_960) / client_hours(4096) == pytest.approx(10**1.5)
        assert client_hours(4096) < client_hours(4095)

    def test_align_instead_of_vectors(self):
        names = [one.stage for one in plan_run(RunSize(clips=1e6)).stages]
        assert names == ["split", "embed", "align", "identify", "export"]
        across = [one.stage for one in plan_run(RunSize(clips=1e6, align=False, cross_cluster=True)).stages]
        assert "cross_cluster" in across

    def test_identify_has_a_rate_for_scores_and_one_for_overlaps(self):
        rates = StageRates(identify_core_s_per_clip=3.6e-6, identify_overlap_core_s_per_clip=36e-6)
        by_scores, by_overlaps = (
            stage(plan_run(RunSize(clips=1e9, align=align), rates), "identify") for align in (False, True)
        )
        assert by_scores.core_hours + by_scores.client_hours == pytest.approx(1)
        assert by_overlaps.core_hours + by_overlaps.client_hours == pytest.approx(10)


class TestProductsOfOneByteNumbers:
    """They leave most pairs of large clusters out, on CPUs."""

    @staticmethod
    def product_share(**size) -> float:
        """The time of products in pairwise, in that of all float32 products."""
        job = RunSize(align=False, **size)
        hours = job.clips * (job.clips / job.num_clusters) * job.dim / 65e9 / 3600
        return stage(plan_run(job), "pairwise").product_hours / hours

    @pytest.mark.parametrize(
        ("rows", "share"),
        [
            (899, 1),
            (900, 0.89),
            (1535, 0.89),
            (1536, 0.73),
            (2048, 0.7),
            (4999, 0.7),
            (5000, 0.57),
            (10_000, 0.55),
            (32_768, 0.55),
            (32_769, 0.63),
        ],
    )
    def test_the_share_that_was_measured_for_clusters_of_this_size(self, rows, share):
        assert self.product_share(clips=1000 * rows, n_clusters=1000) == pytest.approx(share)

    def test_short_vectors_are_multiplied_as_ever(self):
        assert self.product_share(clips=1e7, dim=128) == pytest.approx(0.55)
        assert self.product_share(clips=1e7, dim=127) == 1

    def test_gpus_multiply_all(self):
        large = stage(plan_run(RunSize(clips=1e7, align=False)), "pairwise")
        assert large.gpu_hours * 3600 == pytest.approx(1e7 * 1e4 * 512 / 20e12)

    def test_it_is_told_where_it_counts(self):
        def told(clips: float, *, align: bool = False, **size) -> list[str]:
            said = assumptions_of(plan_run(RunSize(clips=clips, align=align, **size)))
            return [one for one in said if "one-byte" in one]

        (one,) = told(1e7)
        assert one.startswith("pairwise takes 0.55 of the time")
        assert told(8e5, n_clusters=1000) == told(1e7, align=True) == []


class TestTimes:
    def test_gpus_take_over_products_only(self):
        plan = plan_run(RunSize(clips=1e8, align=False, cores=64, gpus=8))
        kmeans = stage(plan, "kmeans")
        reading = (kmeans.core_hours - kmeans.product_hours) / 64
        assert kmeans.wall_hours(64, 8) == pytest.approx(reading + kmeans.gpu_hours / 8 + kmeans.client_hours)
        assert stage(plan, "split").wall_hours(64, 8) == stage(plan, "split").wall_hours(64, 0)

    def test_cores_for_a_deadline(self):
        job = RunSize(clips=1e6, align=False)
        cores = plan_run(job).cores_for(100)
        assert plan_run(RunSize(clips=1e6, align=False, cores=cores)).wall_hours <= 100
        assert plan_run(RunSize(clips=1e6, align=False, cores=cores - 1)).wall_hours > 100

    def test_no_cores_help_the_client(self):
        assert plan_run(RunSize(clips=1e9)).cores_for(1) is None

    def test_the_disk_at_its_fullest(self):
        plan = plan_run(RunSize(clips=1e6, align=False, clip_mbit_s=1e-9))
        stays = sum(one.disk_gb for one in plan.stages)
        assert stays < plan.disk_gb < stays + stage(plan, "kmeans").temporary_gb

    def test_balanced_clusters_cost_less(self):
        def both(n_clusters: int) -> float:
            plan = plan_run(RunSize(clips=1e8, align=False, n_clusters=n_clusters))
            return stage(plan, "kmeans").core_hours + stage(plan, "pairwise").core_hours

        best = plan_run(RunSize(clips=1e8, align=False, n_clusters=1000)).balanced_clusters()
        assert both(best) < min(both(best // 4), both(best * 4))


class TestRates:
    @pytest.mark.parametrize("wrap", [lambda rates: rates, lambda rates: {"rates": rates, "stages": []}])
    def test_from_a_file(self, tmp_path, wrap):
        path = tmp_path / "rates.json"
        path.write_text(
            json.dumps(wrap({"gflops_per_core": 80, "identify_bytes_per_clip": 67.0}))
        )  # an earlier version's
        rates = read_rates(path)
        assert (rates.gflops_per_core, rates.origin) == (80, str(path))
        assert rates.split_core_s_per_hour == StageRates().split_core_s_per_hour

    @pytest.mark.parametrize("text", ["[]", "nonsense", '{"rates": 5}'])
    def test_a_file_without_rates(self, tmp_path, text):
        (tmp_path / "rates.json").write_text(text)
        with pytest.raises(InputError, match="rates"):
            read_rates(tmp_path / "rates.json")

    @pytest.mark.parametrize("found", [{"gflop": 1}, {"gflops_per_core": 0}, {"gflops_per_core": "fast"}])
    def test_rates_that_are_none(self, tmp_path, found):
        (tmp_path / "rates.json").write_text(json.dumps(found))
        with pytest.raises(ParameterError, match="gflop"):
            read_rates(tmp_path / "rates.json")

    def test_of_this_machine(self):
        rates = measure_rates()
        assert "measured on" in rates.origin
        assert 0.1 < rates.gflops_per_core < 10_000
        assert 0.01 < rates.pass_core_s_per_gb < 1000
        assert 10 < rates.split_core_s_per_hour < 100_000


@pytest.mark.parametrize(
    ("name", "value"), [("clips", 0), ("clips", float("inf")), ("dim", 0), ("hours", -1), ("cores", 0), ("gpus", -1)]
)
def test_jobs_that_cannot_be(name, value):
    with pytest.raises(ParameterError, match=name):
        RunSize(**{"clips": 1e6, name: value})
