"""A job that cron starts."""

n = 21
with open("result.txt", "w") as file:
    file.write(f"{n * 2}\n")  # breakpoint
