"""Faust agents and what runs inside them: Kafka in and out, nothing else."""
