"""Work that is handed to other processes: pools, task queues, test runners."""

from __future__ import annotations

from launchers.launcher import CHANCE, RUNS, Launcher, client, runs_by_itself

WORK = """
    def work(n):
        return n * 2  # breakpoint
"""
POOL = """
    import multiprocessing
    from work import work

    if __name__ == "__main__":
        with multiprocessing.get_context("METHOD").Pool(2) as pool:
            print(pool.apply(work, [21]))
            pool.close()
            pool.join()
"""
EXECUTOR = """
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from work import work

    if __name__ == "__main__":
        with ProcessPoolExecutor(2, multiprocessing.get_context("METHOD")) as pool:
            print(pool.submit(work, 21).result())
"""
LOKY = """
    import joblib
    from work import work

    if __name__ == "__main__":
        print(joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(work)(21) for _ in range(1)))
"""
DASK = """
    from dask.distributed import Client, LocalCluster
    from work import work

    if __name__ == "__main__":
        with LocalCluster(1, threads_per_worker=1, dashboard_address=None, local_directory="{folder}") as cluster:
            with Client(cluster) as client:
                print(client.submit(work, 21).result())
"""
TEST = """
    def test_work():
        n = 21
        print(n * 2)  # breakpoint
"""
CELERY = """
    from celery import Celery

    app = Celery("tasks", broker="filesystem://", backend="file://{folder}/results")
    folders = dict.fromkeys(["data_folder_in", "data_folder_out", "control_folder"], "{folder}/queue")
    app.conf.broker_transport_options = {**folders, "polling_interval": 0.1}

    @app.task
    def work(n):
        return n * 2  # breakpoint
"""
# kombu writes a message where the worker may read the half of it: here it is written elsewhere, and moved there whole.
CELERY_CLIENT = """
    import os
    from tasks import app, work

    sent = f"sent-{os.getpid()}"
    os.mkdir(sent)
    app.conf.broker_transport_options["data_folder_out"] = sent
    result = work.delay(21)
    for name in os.listdir(sent):
        os.rename(os.path.join(sent, name), os.path.join("queue", name))
    print(result.get(timeout=60, interval=0.05))
"""
SLOT = "PyCharm: the script has the slot."


def pool(id: str, text: str, method: str) -> Launcher:
    files = {"app.py": text.replace("METHOD", method), "work.py": WORK}
    return job(id, files)


def job(id: str, files: dict[str, str], *needs: str) -> Launcher:
    return Launcher(
        id,
        {"work.py": WORK, **files},
        ["{python}", "app.py"],
        runs_by_itself,
        needs=needs,
        serves=False,
        ptvsd=RUNS,
        pycharm=RUNS,
        note=SLOT,
    )


def celery(id: str, *options: str, **more: object) -> Launcher:
    return Launcher(
        id,
        {"tasks.py": CELERY, "client.py": CELERY_CLIENT, "results/.keep": "", "queue/.keep": ""},
        ["{bin}/celery", "-A", "tasks", "worker", "--without-gossip", "--without-mingle", *options],
        client,
        needs=["celery"],
        **more,  # type: ignore[arg-type]
    )


def pytest(id: str, *options: str, **more: object) -> Launcher:
    command = ["{python}", "-m", "pytest", "-q", "-rP", "-p", "no:cacheprovider", *options, "test_app.py"]
    return Launcher(id, {"test_app.py": TEST}, command, runs_by_itself, serves=False, **more)  # type: ignore[arg-type]


METHODS = ("fork", "spawn", "forkserver")
LAUNCHERS = [
    *(pool(f"multiprocessing.Pool, {method}", POOL, method) for method in METHODS),
    *(pool(f"ProcessPoolExecutor, {method}", EXECUTOR, method) for method in METHODS),
    job("joblib, loky", {"app.py": LOKY}, "joblib"),
    job("Dask LocalCluster", {"app.py": DASK}, "distributed"),
    celery("celery -P prefork", "-P", "prefork", "-c", "2", workers=2, ptvsd=RUNS, replaces=True),
    celery("celery -P solo", "-P", "solo"),
    celery("celery -P threads", "-P", "threads"),
    pytest("pytest"),
    pytest("pytest -n 1", "-n", "1", needs=["xdist"], ptvsd=RUNS),
    pytest(
        "pytest -n 2",
        *("-n", "2"),
        needs=["xdist"],
        ptvsd=RUNS,
        pycharm=CHANCE,
        note="PyCharm has the first worker that starts; which one runs a test is chance.",
    ),
]
