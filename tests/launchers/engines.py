"""Engines that ship the user's functions to workers of their own: Spark, Dask, Ray, Celery over Redis, Airflow.

Heavy, so that they have a table, an extra and a session of their own: `test_engines.py`.
"""

from __future__ import annotations

from launchers.launcher import CHANCE, RUNS, Launcher, client, leaves_a_file, runs_by_itself

SLOT = "PyCharm: the script has the slot."
# The same for the workers alone, in the words of the engine
NAMES = ("START_DEBUGGER", "DEBUGGER_PORT", "DEBUGGER_IDE", "DEBUGGER_WAIT")
FOR_WORKERS = {name: f"{{{name}}}" for name in NAMES}

# The function is shipped by value: the workers have no file of this name but by its path.
SPARK = """
    from pyspark.sql import SparkSession

    def work(n):
        return n * 2  # breakpoint

    if __name__ == "__main__":
        builder = SparkSession.builder.master("MASTER").config("spark.ui.enabled", False)
        for name, value in SETTINGS.items():
            builder = builder.config(name, value)
        spark = builder.getOrCreate()
        for _ in range(TIMES):
            print(spark.sparkContext.parallelize([21] * TASKS, TASKS).map(work).collect())
        spark.stop()
"""
# The JVM starts in half the time like this. Without PYSPARK_PYTHON the workers are the PATH's python3.
SPARK_ENV = {
    "SPARK_LOCAL_IP": "127.0.0.1",
    "SPARK_LOCAL_DIRS": "{folder}",
    "SPARK_HOME": "{folder}/spark",
    "PYSPARK_PYTHON": "{python}",
    "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Djava.io.tmpdir={folder}",
}
# What `spark-submit --conf` and spark-defaults.conf set
EXECUTOR_ENV = {f"spark.executorEnv.{name}": value for name, value in FOR_WORKERS.items()}
CLUSTER = "local-cluster[2,1,1024]"

DASK_WORK = """
    def work(n):
        return n * 2  # breakpoint
"""
DASK = """
    from dask.distributed import Client, LocalCluster
    WORK
    if __name__ == "__main__":
        with LocalCluster(OPTIONS, threads_per_worker=1, dashboard_address=None, local_directory="{folder}") as cluster:
            with Client(cluster) as client:
                print(client.gather(client.map(work, [21] * TASKS, pure=False)))
"""
# Where the script is not debugged, what it ships by value has lost its file's name: cloudpickle 3.1.3 and later
IMPORTED = "from work import work\n"
DASK_CLIENT = """
    from dask.distributed import Client
    from work import work

    if __name__ == "__main__":
        with Client("tcp://127.0.0.1:{http}") as client:
            print(client.submit(work, 21, pure=False).result())
"""
# A service and what uses it, which is ended first; the service runs without us.
BESIDE = """
    #!/bin/sh
    env -u START_DEBUGGER SERVICE &
    service=$!
    workers=
    trap 'kill $workers' TERM
    for worker in WORKERS; do
        WORKER &
        workers="$workers $!"
    done
    for worker in $workers; do
        while kill -0 $worker 2>/dev/null; do wait $worker; done
    done
    kill $service
    wait
"""
DASK_SCHEDULER = "{bin}/dask scheduler --host 127.0.0.1 --port {http} --no-dashboard"
DASK_WORKER = "{bin}/dask worker tcp://127.0.0.1:{http} --no-dashboard --nthreads 1 --local-directory {folder}"

RAY = """
    import ray

    def work(n):
        return n * 2  # breakpoint

    class Actor:
        def work(self, n):
            return work(n)

    if __name__ == "__main__":
        ray.init(num_cpus=1, include_dashboard=False, runtime_env={"env_vars": SETTINGS})
        print(ray.get(CALL))
        ray.shutdown()
"""
RAY_ENV = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
TASK = "ray.remote(work).remote(21)"
ACTOR = "ray.remote(Actor).remote().work.remote(21)"

# One message at a time, so that who stands at the breakpoint keeps none from the other.
CELERY = """
    from celery import Celery

    app = Celery("tasks", broker="redis://127.0.0.1:{http}/0", backend="redis://127.0.0.1:{http}/1")
    app.conf.update(worker_prefetch_multiplier=1, task_acks_late=True, broker_connection_retry_on_startup=True)

    @app.task
    def work(n):
        return n * 2  # breakpoint
"""
CELERY_CLIENT = """
    from tasks import work

    print(work.delay(21).get(timeout=100))
"""
REDIS = "redis-server --port {http} --bind 127.0.0.1 --save '' --dir {folder}"
CELERY_WORKER = "{bin}/celery -A tasks worker -n $worker@%h --without-gossip --without-mingle"

AIRFLOW = """
    from airflow.sdk import dag, task

    @dag(schedule=None)
    def my_dag():
        @task
        def work(n):
            result = n * 2  # breakpoint
            with open("{folder}/result.txt", "w") as file:
                print(result, file=file)

        work(21)

    my_dag()
"""
AIRFLOW_TEST = """
    #!/bin/sh
    env -u START_DEBUGGER {bin}/airflow db migrate >/dev/null && exec {bin}/airflow SUBCOMMAND
"""
AIRFLOW_ENV = {
    "AIRFLOW_HOME": "{folder}/airflow",
    "AIRFLOW__CORE__DAGS_FOLDER": "{folder}/dags",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
}


def spark(
    id: str,
    master: str,
    tasks: int,
    settings: dict[str, str] | None = None,
    times: int = 1,
    only: str = "",
    **more: object,
) -> Launcher:
    text = SPARK.replace("MASTER", master).replace("SETTINGS", repr(settings or {}))
    return Launcher(
        id,
        {"app.py": text.replace("TASKS", str(tasks)).replace("TIMES", str(times))},
        ["{python}", "app.py"],
        runs_by_itself,
        needs=["pyspark"],
        programs=["java"],
        workers=tasks,
        serves=False,
        env={**SPARK_ENV, **chosen(only)},
        **{"ptvsd": RUNS, **more},  # type: ignore[arg-type]
    )


def reuse(value: str) -> Launcher:
    """Two jobs, one after the other, in one worker that is kept, or in two."""
    settings = {**EXECUTOR_ENV, "spark.python.worker.reuse": value}
    return spark(f"Spark, worker.reuse {value}", "local[1]", 1, settings, times=2, env_in_files=True)


def dask(id: str, options: str, tasks: int, work: str = DASK_WORK, **more: object) -> Launcher:
    text = DASK.replace("WORK", work).replace("OPTIONS", options).replace("TASKS", str(tasks))
    return Launcher(
        id,
        {"app.py": text, **({"work.py": DASK_WORK} if work == IMPORTED else {})},
        ["{python}", "app.py"],
        runs_by_itself,
        needs=["distributed"],
        workers=tasks,
        serves=False,
        **more,  # type: ignore[arg-type]
    )


def beside(id: str, service: str, worker: str, names: str, files: dict[str, str], **more: object) -> Launcher:
    text = BESIDE.replace("SERVICE", service).replace("WORKERS", names).replace("WORKER", worker)
    return Launcher(id, {"start.sh": text, **files}, ["{folder}/start.sh"], client, **more)  # type: ignore[arg-type]


def dask_worker(id: str, *options: str, **more: object) -> Launcher:
    worker = " ".join([DASK_WORKER, *options])
    files = {"client.py": DASK_CLIENT, "work.py": DASK_WORK}
    env = {"PYTHONPATH": "{folder}"}
    return beside(id, DASK_SCHEDULER, worker, "a", files, needs=["distributed"], env=env, **more)


def ray(id: str, call: str, settings: dict[str, str] | None = None, only: str = "", **more: object) -> Launcher:
    return Launcher(
        id,
        {"app.py": RAY.replace("CALL", call).replace("SETTINGS", repr(settings or {}))},
        ["{python}", "app.py"],
        runs_by_itself,
        needs=["ray"],
        serves=False,
        env={**RAY_ENV, **chosen(only)},
        **more,  # type: ignore[arg-type]
    )


def celery(id: str, nodes: str, *options: str, **more: object) -> Launcher:
    worker = " ".join([CELERY_WORKER, *options])
    files = {"tasks.py": CELERY, "client.py": CELERY_CLIENT}
    return beside(
        id, REDIS, worker, nodes, files, needs=["celery", "redis"], programs=["redis-server"], ptvsd=RUNS, **more
    )


def airflow_test(subcommand: str) -> Launcher:
    files = {"dags/my_dag.py": AIRFLOW, "start.sh": AIRFLOW_TEST.replace("SUBCOMMAND", subcommand)}
    return Launcher(
        f"airflow {subcommand}",
        files,
        ["{folder}/start.sh"],
        leaves_a_file,
        needs=["airflow"],
        serves=False,
        env=AIRFLOW_ENV,
    )


def chosen(only: str) -> dict[str, str]:
    return {"DEBUGGER_ONLY": only} if only else {}


REUSED, NOT_REUSED = reuse("true"), reuse("false")
FIFTY = celery("celery -c 50 over Redis", "a", "-c", "50")
ENGINES = [
    spark("Spark local[2], executorEnv", "local[2]", 1, EXECUTOR_ENV, env_in_files=True),
    spark("Spark local[2], DEBUGGER_ONLY", "local[2]", 1, only="pyspark.daemon"),
    spark(f"Spark {CLUSTER}, executorEnv", CLUSTER, 1, EXECUTOR_ENV, env_in_files=True),
    dask("Dask LocalCluster(2)", "n_workers=2", 2, ptvsd=RUNS, pycharm=RUNS, note=SLOT),
    dask("Dask LocalCluster(processes=False)", "n_workers=1, processes=False", 1),
    dask(
        "Dask LocalCluster(1), DEBUGGER_ONLY",
        "n_workers=1",
        1,
        IMPORTED,
        env={"DEBUGGER_ONLY": "*multiprocessing.spawn*"},
    ),
    dask_worker("dask worker", ptvsd=RUNS),
    dask_worker("dask worker --no-nanny", "--no-nanny"),
    ray("Ray task, runtime_env", TASK, FOR_WORKERS, env_in_files=True),
    ray("Ray task, DEBUGGER_ONLY", TASK, only="default_worker.py"),
    ray("Ray actor, runtime_env", ACTOR, FOR_WORKERS, env_in_files=True),
    celery("celery -c 2 over Redis", "a", "-c", "2", workers=2, pycharm=CHANCE),
    celery("two celery -c 1 over Redis", "a b", "-c", "1", workers=2),
]
# The two that run a task themselves. (The scheduler's way to its tasks is imitated in test_slot.py.)
AIRFLOWS = [
    airflow_test("dags test my_dag"),
    airflow_test("tasks test my_dag work"),
]
# The script is debugged, and all that comes of it. PyCharm has the script then, as Dask's row above shows.
FROM_THE_SCRIPT = [
    spark("Spark local[2]", "local[2]", 2),
    spark(f"Spark {CLUSTER}", CLUSTER, 2),
    ray("Ray task", TASK),
]
