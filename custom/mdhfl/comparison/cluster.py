"""Tasks as jobs of a Slurm cluster, through submitit: each is queued, and may run on another machine.

All machines must see the work folder, the raw data and this Python. What a job may use is Slurm's own business: its
environment variables (SBATCH_PARTITION, SBATCH_TIMELIMIT, SBATCH_GRES, ...) apply.
"""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mdhfl.comparison.tasks import Outcome, attempt

LONGEST_JOB = 24 * 60  # minutes; SBATCH_TIMELIMIT says otherwise


class ClusterJob:
    """A job of submitit's, whose result is always an outcome."""

    def __init__(self, job: Any) -> None:
        self.job = job

    def done(self) -> bool:
        """Return whether it has ended, well or not."""
        return bool(self.job.done())

    def result(self) -> Outcome:
        """Return its outcome; that of a job which was cancelled, or ran out of time or memory, is a failure."""
        error = self.job.exception()
        if error is None:
            outcome: Outcome = self.job.result()
            return outcome
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        return Outcome(failure=f"job {self.job.job_id}: {lines[-1][:300]}; its log: {self.job.paths.stderr}")


class Cluster:
    """An executor of a comparison, see `workers.Executor`."""

    def __init__(self, folder: Path, *, threads: int, device: str, kind: str = "slurm") -> None:
        """Open the cluster.

        Args:
            folder: for submitit's files: each job's code, arguments and logs.
            threads: CPUs of a job.
            device: "cpu", or one of "cuda", for which a job gets a GPU.
            kind: of submitit's executors: "slurm"; "local" starts each job as a process here.

        Raises:
            ValueError: submitit is not installed, or there is no Slurm here.
        """
        try:
            import submitit
        except ImportError as error:
            raise ValueError('--executor slurm needs submitit: pip install "mdhfl[cluster]"') from error
        try:
            self._executor = submitit.AutoExecutor(folder=folder, cluster=kind)
        except RuntimeError as error:
            raise ValueError(
                f"--executor slurm: expected Slurm's sbatch on this machine, found none ({error})"
            ) from error
        gpus = 0 if device == "cpu" else 1
        self._executor.update_parameters(
            name="mdhfl", timeout_min=LONGEST_JOB, cpus_per_task=threads, gpus_per_node=gpus
        )
        self._jobs: list[ClusterJob] = []

    def submit(self, task: Callable[..., Any], *arguments: Any) -> ClusterJob:
        """Queue a task."""
        job = ClusterJob(self._executor.submit(attempt, task, *arguments))
        self._jobs = [one for one in self._jobs if not one.done()] + [job]
        return job

    def close(self) -> None:
        """Nothing to end: jobs end by themselves."""

    def kill(self) -> None:
        """Cancel the jobs that have not ended."""
        for one in self._jobs:
            with contextlib.suppress(Exception):  # one that has just ended
                one.job.cancel()
