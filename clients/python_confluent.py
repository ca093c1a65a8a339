"""confluent-kafka for Python: the newest librdkafka, with its admin client and cooperative rebalancing."""

import json
import os

from confluent_kafka import Consumer, ConsumerGroupState, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from checks import BROKERS, START, check, equal, eventually, fresh, main

# How to connect; `clients/security.sh` adds how to log in.
CONNECT = {"bootstrap.servers": BROKERS} | json.loads(os.environ.get("CLIENT_SETTINGS", "{}"))
ADMIN = AdminClient(CONNECT)


def done(futures):
    """Waits for every future of an admin call; a dict of their results."""
    return {key: future.result(20) for key, future in futures.items()}


def topic(partitions=1, config=None):
    name = fresh("confluent")
    done(ADMIN.create_topics([NewTopic(name, partitions, 1, config=config or {})]))
    return name


def produce(name, count, partitions=1, **settings):
    reports = []
    producer = Producer(CONNECT | {"linger.ms": 5} | settings)
    for i in range(count):
        producer.produce(
            name,
            key=f"k{i}",
            value=f"v{i} " + "x" * 50,
            headers=[("n", str(i).encode()), ("empty", b""), ("null", None)],
            partition=i % partitions,
            timestamp=START + i,
            on_delivery=lambda error, message: reports.append((error, message)),
        )
    equal(producer.flush(30), 0)
    equal([error for error, _ in reports if error], [])
    return sorted((message.partition(), message.offset()) for _, message in reports)


def consumer(**settings):
    return Consumer(
        CONNECT
        | {
            "group.id": fresh("group"),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 100,
        }
        | settings
    )


def read(client, count):
    records = []

    def more():
        for message in client.consume(count, 0.2):
            equal(message.error(), None)
            records.append(message)
        return len(records) >= count

    eventually(f"{count} records", more)
    return records


@check
def records_come_back_as_sent_in_every_compression():
    for compression in ("none", "gzip", "snappy", "lz4", "zstd"):
        name = topic()
        produce(name, 200, **{"compression.type": compression})
        reader = consumer()
        reader.subscribe([name])
        for i, record in enumerate(read(reader, 200)):
            equal((record.offset(), record.key(), record.timestamp()[1]), (i, f"k{i}".encode(), START + i))
            equal(record.value(), (f"v{i} " + "x" * 50).encode())
            equal(record.headers(), [("n", str(i).encode()), ("empty", b""), ("null", None)])
        reader.close()


@check
def an_idempotent_producer_numbers_its_records():
    name = topic(3)
    offsets = produce(name, 3000, 3, **{"enable.idempotence": True, "batch.num.messages": 50})
    equal(offsets, [(partition, i) for partition in range(3) for i in range(1000)])


@check
def a_copy_in_transactions_is_exact():
    source, target = topic(2), topic(2)
    produce(source, 100, 2)
    reader = consumer(**{"isolation.level": "read_committed"})
    reader.subscribe([source])
    writer = Producer(CONNECT | {"transactional.id": fresh("copy")})
    writer.init_transactions(30)
    copied, rounds = 0, 0
    while copied < 100:
        messages = [message for message in reader.consume(10, 1.0) if message.error() is None]
        if not messages:
            continue
        rounds += 1
        writer.begin_transaction()
        for message in messages:
            writer.produce(target, key=message.key(), value=message.value(), partition=message.partition())
        positions = [position for position in reader.position(reader.assignment()) if position.offset >= 0]
        writer.send_offsets_to_transaction(positions, reader.consumer_group_metadata(), 30)
        if rounds % 3:
            writer.commit_transaction(30)
            copied += len(messages)
            continue
        writer.flush(30)
        writer.abort_transaction(30)
        for place in reader.committed(reader.assignment(), 30):
            reader.seek(TopicPartition(place.topic, place.partition, max(place.offset, 0)))
    reader.close()
    copies = consumer(**{"isolation.level": "read_committed"})
    copies.subscribe([target])
    found = sorted(message.key() for message in read(copies, 100))
    equal(found, sorted(f"k{i}".encode() for i in range(100)))
    copies.close()


@check
def a_record_that_is_too_large_is_refused_by_name():
    name = topic(config={"max.message.bytes": "10000"})
    seen = []
    producer = Producer(CONNECT)
    producer.produce(name, "x" * 20000, on_delivery=lambda error, _: seen.append(error and error.code()))
    producer.flush(20)
    producer.produce(name, "small", on_delivery=lambda error, _: seen.append(error and error.code()))
    producer.flush(20)
    equal(seen, [KafkaError.MSG_SIZE_TOO_LARGE, None])


@check
def offsets_are_found_by_place_and_by_time():
    name = topic()
    produce(name, 100)
    reader = consumer()
    equal(reader.get_watermark_offsets(TopicPartition(name, 0), 10), (0, 100))
    for time, offset in ((START + 42, 42), (START + 1000, -1)):
        [found] = reader.offsets_for_times([TopicPartition(name, 0, time)], 10)
        equal(found.offset, offset)
    reader.assign([TopicPartition(name, 0, 97)])
    equal([record.offset() for record in read(reader, 3)], [97, 98, 99])
    reader.close()
    found = done(ADMIN.list_offsets({TopicPartition(name, 0): OffsetSpec.max_timestamp()}))
    equal([(result.offset, result.timestamp) for result in found.values()], [(99, START + 99)])


# Members of the classic protocol; those of the new one beat when the broker says so.
CLASSIC = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 300}
NEW = {"group.protocol": "consumer"}


def shared_by_two(**settings):
    name, group = topic(4), fresh("group")
    produce(name, 40, 4)
    settings["group.id"] = group
    first, second = consumer(**settings), consumer(**settings)
    seen = []

    def poll(member):
        message = member.poll(0.05)
        if message is not None and message.error() is None:
            seen.append(message.value())

    def balanced():
        poll(first)
        poll(second)
        return len(first.assignment()) == 2 and len(second.assignment()) == 2

    first.subscribe([name])
    eventually("all four", lambda: [poll(first)] and len(first.assignment()) == 4)
    second.subscribe([name])
    eventually("two partitions each", balanced)
    produce(name, 4, 4)
    eventually("all records", lambda: [poll(first), poll(second)] and len(set(seen)) == 40)
    second.close()
    eventually("all four again", lambda: [poll(first)] and len(first.assignment()) == 4)
    first.close()


@check
def two_members_share_and_one_takes_over():
    shared_by_two(**CLASSIC | {"partition.assignment.strategy": "range,roundrobin"})


@check
def two_members_share_by_cooperation():
    shared_by_two(**CLASSIC | {"partition.assignment.strategy": "cooperative-sticky"})


@check
def two_members_share_under_the_new_protocol():
    shared_by_two(**NEW)


@check
def a_group_moves_to_the_new_protocol_member_by_member():
    name, group = topic(4), fresh("group")
    produce(name, 40, 4)
    members = [consumer(**CLASSIC | {"group.id": group}) for _ in range(2)]

    def balanced():
        for member in members:
            member.poll(0.05)
        return all(len(member.assignment()) == 2 for member in members)

    for member in members:
        member.subscribe([name])
    eventually("two partitions each", balanced)
    for i in range(2):
        members[i].close()
        members[i] = consumer(**NEW | {"group.id": group})
        members[i].subscribe([name])
        eventually(f"two partitions each, {i + 1} of them new", balanced)

    def positions():
        balanced()
        return [place.offset for member in members for place in member.position(member.assignment())]

    eventually("all records", lambda: positions() == [10] * 4)
    for member in members:
        member.commit(asynchronous=False)
    found = members[0].committed([TopicPartition(name, partition) for partition in range(4)], 20)
    equal([place.offset for place in found], [10] * 4)
    for member in members:
        member.close()


@check
def a_static_member_keeps_its_partitions_over_a_restart():
    name, group = topic(2), fresh("group")
    settings = {"group.id": group, "session.timeout.ms": 10000, "group.instance.id": "one"}
    for _ in range(2):
        member = consumer(**settings)
        member.subscribe([name])
        eventually("both partitions", lambda: [member.poll(0.05)] and len(member.assignment()) == 2)
        found = done(ADMIN.describe_consumer_groups([group]))[group]
        equal([each.group_instance_id for each in found.members], ["one"])
        member.close()


@check
def a_group_resumes_where_it_committed():
    name, group = topic(), fresh("group")
    produce(name, 30)
    first = consumer(**{"group.id": group})
    first.subscribe([name])
    read(first, 30)
    first.commit(offsets=[TopicPartition(name, 0, 12, metadata="up to here")], asynchronous=False)
    first.close()
    second = consumer(**{"group.id": group})
    second.subscribe([name])
    equal(read(second, 18)[0].offset(), 12)
    [found] = second.committed([TopicPartition(name, 0)], 10)
    equal((found.offset, found.metadata), (12, "up to here"))
    second.close()


@check
def groups_are_listed_described_and_deleted():
    name, group = topic(2), fresh("group")
    produce(name, 2, 2)
    member = consumer(**{"group.id": group, "client.id": "the-member"})
    member.subscribe([name])
    read(member, 2)
    member.commit(asynchronous=False)
    listed = ADMIN.list_consumer_groups().result(20).valid
    equal([each.state for each in listed if each.group_id == group], [ConsumerGroupState.STABLE])
    found = done(ADMIN.describe_consumer_groups([group]))[group]
    equal([each.client_id for each in found.members], ["the-member"])
    equal(sorted(at.partition for at in found.members[0].assignment.topic_partitions), [0, 1])
    member.close()
    eventually(
        "an empty group",
        lambda: done(ADMIN.describe_consumer_groups([group]))[group].state == ConsumerGroupState.EMPTY,
    )
    done(ADMIN.delete_consumer_groups([group]))
    equal([each for each in ADMIN.list_consumer_groups().result(20).valid if each.group_id == group], [])


@check
def topics_are_created_described_altered_grown_and_deleted():
    name = topic(2, {"retention.ms": "60000"})
    try:
        done(ADMIN.create_topics([NewTopic(name, 2, 1)]))
        raise AssertionError("was created twice")
    except KafkaException as problem:
        equal(problem.args[0].code(), KafkaError.TOPIC_ALREADY_EXISTS)
    resource = ConfigResource(ConfigResource.Type.TOPIC, name)

    def retention():
        return done(ADMIN.describe_configs([resource]))[resource]["retention.ms"].value

    equal(retention(), "60000")
    changed = ConfigResource(
        ConfigResource.Type.TOPIC,
        name,
        incremental_configs=[ConfigEntry("retention.ms", "120000", incremental_operation=AlterConfigOpType.SET)],
    )
    done(ADMIN.incremental_alter_configs([changed]))
    eventually("the new retention", lambda: retention() == "120000")
    done(ADMIN.create_partitions([NewPartitions(name, 5)]))
    eventually("five partitions", lambda: len(ADMIN.list_topics(name, 10).topics[name].partitions) == 5)
    done(ADMIN.delete_topics([name]))
    eventually("the topic is gone", lambda: name not in ADMIN.list_topics(timeout=10).topics)


@check
def records_before_an_offset_are_deleted():
    name = topic()
    produce(name, 50)
    done(ADMIN.delete_records([TopicPartition(name, 0, 20)]))
    reader = consumer()
    equal(reader.get_watermark_offsets(TopicPartition(name, 0), 10), (20, 50))
    reader.subscribe([name])
    equal(read(reader, 30)[0].offset(), 20)
    reader.close()


@check
def the_cluster_describes_itself():
    found = ADMIN.describe_cluster().result(20)
    equal(sorted(f"{node.host}:{node.port}" for node in found.nodes), sorted(BROKERS.split(",")))
    equal(found.controller.id in [node.id for node in found.nodes], True)


@check
def an_unknown_topic_is_an_error_to_a_reader():
    reader = consumer(**{"allow.auto.create.topics": False, "topic.metadata.propagation.max.ms": 0})
    reader.subscribe([fresh("unknown")])
    message = eventually("an error", lambda: reader.poll(0.2))
    equal(message.error().code(), KafkaError.UNKNOWN_TOPIC_OR_PART)
    reader.close()


main("confluent-kafka")
