"""The settings of a broker that do not concern its listeners."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dev.apache_kafka.node import Node

_COPIES_OF_A_SMALL_CLUSTER = 3


def broker_properties(node: Node, *, voters: str, brokers: int) -> dict[str, str]:
    """Settings of a broker that is its own controller.

    Args:
        voters: the controllers of the cluster, as `controller.quorum.voters` names them.
        brokers: how many the cluster has.
    """
    copies = str(min(brokers, _COPIES_OF_A_SMALL_CLUSTER))
    enough = "2" if brokers >= _COPIES_OF_A_SMALL_CLUSTER else "1"
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.node_id),
        "controller.quorum.voters": voters,
        "log.dirs": str(node.data),
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": enough,
        "num.partitions": "1",
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": enough,
        "transaction.state.log.num.partitions": "3",
        "group.initial.rebalance.delay.ms": "0",
        "log.retention.check.interval.ms": "500",
        "log.initial.task.delay.ms": "500",
        # How long a killed broker stays the leader of its partitions, and how long it waits for
        # its own old session after a restart: Kafka's nine seconds would dominate a test's time.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # The first election waits for these; on one machine they can be short.
        "controller.quorum.election.timeout.ms": "300",
        "controller.quorum.election.backoff.max.ms": "100",
    }
