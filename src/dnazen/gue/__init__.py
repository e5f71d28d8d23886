"""The GUE benchmark: tasks, runner, statistics, report."""
