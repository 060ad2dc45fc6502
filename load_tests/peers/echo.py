"""What Kafka itself takes: a bare consume-produce by confluent-kafka at its default settings, that decides nothing.

It reads every event, one by one as they come, and sends the marked ones on as they are.
Usage: ``python -m load_tests.peers.echo BOOTSTRAP GROUP TOPIC TRIGGERS``; it runs until it is ended.
"""

from __future__ import annotations

import sys

import confluent_kafka

from load_tests.pacing import MARK


def main() -> None:
    """Run until told to end."""
    bootstrap, group, topic, triggers = sys.argv[1:5]
    mark = f'"{MARK}"'.encode()
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
    )
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    consumer.subscribe([topic])
    while True:
        message = consumer.poll(0.1)
        if message is None or message.error() is not None:
            continue
        value = message.value()
        if value is not None and mark in value:
            producer.produce(triggers, value, message.key())
            producer.poll(0)


if __name__ == "__main__":
    main()
