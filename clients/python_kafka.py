"""kafka-python: written in Python from the socket up, so it shares no code with librdkafka."""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import GroupIdNotFoundError, MessageSizeTooLargeError, TopicAlreadyExistsError, UnknownTopicOrPartitionError
from kafka.protocol.consumer import OffsetSpec

from checks import BROKERS, START, check, equal, eventually, fresh, main


def admin():
    return KafkaAdminClient(bootstrap_servers=BROKERS)


def topic(partitions=1, configs=None):
    name = fresh("kafka-python")
    with admin() as client:
        client.create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})])
    return name


def produce(name, count, partitions=1, **settings):
    producer = KafkaProducer(bootstrap_servers=BROKERS, **settings)
    sent = [
        producer.send(
            name,
            key=b"k%d" % i,
            value=b"v%d " % i + b"x" * 50,
            headers=[("n", b"%d" % i), ("empty", b"")],
            partition=i % partitions,
            timestamp_ms=START + i,
        )
        for i in range(count)
    ]
    producer.flush(30)
    offsets = [future.get(30).offset for future in sent]
    producer.close()
    return offsets


def consumer(*topics, **settings):
    settings = {"auto_offset_reset": "earliest", "enable_auto_commit": False, "fetch_max_wait_ms": 100} | settings
    client = KafkaConsumer(bootstrap_servers=BROKERS, **settings)
    # A member that joins before it knows the topic may stay without partitions: seen once in 25 runs, on Apache Kafka too.
    for name in topics:
        client.partitions_for_topic(name)
    if topics:
        client.subscribe(topics)
    return client


def read(client, count):
    records = []
    eventually(
        f"{count} records",
        lambda: [records.extend(batch) for batch in client.poll(200).values()] and len(records) >= count,
    )
    return records


@check
def records_come_back_as_sent_in_every_compression():
    for compression in (None, "gzip", "snappy", "lz4", "zstd"):
        name = topic()
        equal(produce(name, 200, compression_type=compression), list(range(200)))
        reader = consumer(name)
        records = read(reader, 200)
        reader.close()
        for i, record in enumerate(records):
            equal((record.offset, record.key, record.timestamp), (i, b"k%d" % i, START + i))
            equal(record.value, b"v%d " % i + b"x" * 50)
            equal(list(record.headers), [("n", b"%d" % i), ("empty", b"")])


@check
def an_idempotent_producer_numbers_its_records():
    name = topic(3)
    offsets = produce(name, 300, 3, enable_idempotence=True, acks="all")
    equal(offsets, [i // 3 for i in range(300)])


@check
def without_acknowledgement_records_arrive_too():
    name = topic()
    producer = KafkaProducer(bootstrap_servers=BROKERS, acks=0, enable_idempotence=False)
    for i in range(10):
        producer.send(name, b"%d" % i)
    producer.flush(10)
    reader = consumer(name)
    equal([record.value for record in read(reader, 10)], [b"%d" % i for i in range(10)])
    reader.close()
    producer.close()


@check
def a_record_that_is_too_large_is_refused_by_name():
    name = topic(configs={"max.message.bytes": "10000"})
    producer = KafkaProducer(bootstrap_servers=BROKERS, enable_idempotence=False)
    try:
        producer.send(name, b"x" * 20000).get(20)
        raise AssertionError("was accepted")
    except MessageSizeTooLargeError:
        pass
    producer.send(name, b"small").get(20)
    producer.close()


@check
def offsets_are_found_by_place_and_by_time():
    name = topic()
    produce(name, 100)
    partition = TopicPartition(name, 0)
    reader = consumer()
    equal(reader.beginning_offsets([partition]), {partition: 0})
    equal(reader.end_offsets([partition]), {partition: 100})
    found = reader.offsets_for_times({partition: START + 42})[partition]
    equal((found.offset, found.timestamp), (42, START + 42))
    equal(reader.offsets_for_times({partition: START + 1000})[partition], None)
    reader.assign([partition])
    reader.seek(partition, 97)
    equal([record.offset for record in read(reader, 3)], [97, 98, 99])
    reader.close()
    with admin() as client:
        spec = {partition: OffsetSpec.MAX_TIMESTAMP}
        found = client.list_partition_offsets(spec)[partition]
        equal((found.offset, found.timestamp), (99, START + 99))


@check
def two_members_share_and_one_takes_over():
    name, group = topic(4), fresh("group")
    produce(name, 40, 4)
    settings = {"group_id": group, "session_timeout_ms": 6000, "heartbeat_interval_ms": 500}
    first, second = consumer(name, **settings), consumer(name, **settings)

    def balanced():
        first.poll(50)
        second.poll(50)
        return len(first.assignment()) == 2 and len(second.assignment()) == 2

    eventually("two partitions each", balanced)
    both = first.assignment() | second.assignment()
    equal(both, {TopicPartition(name, i) for i in range(4)})
    second.close()
    eventually("all four", lambda: first.poll(50) is not None and len(first.assignment()) == 4)
    first.close()


@check
def a_group_resumes_where_it_committed():
    name, group = topic(), fresh("group")
    produce(name, 30)
    partition = TopicPartition(name, 0)
    first = consumer(name, group_id=group)
    read(first, 30)
    first.commit({partition: OffsetAndMetadata(12, "up to here", -1)})
    first.close()
    second = consumer(name, group_id=group)
    equal(read(second, 18)[0].offset, 12)
    equal(second.committed(partition, metadata=True), OffsetAndMetadata(12, "up to here", -1))
    second.close()


@check
def groups_are_listed_described_and_deleted():
    name, group = topic(2), fresh("group")
    produce(name, 2, 2)
    member = consumer(name, group_id=group, client_id="the-member")
    read(member, 2)
    member.commit()
    with admin() as client:
        found = [each for each in client.list_groups() if each["group_id"] == group]
        equal([(each["group_state"], each["protocol_type"]) for each in found], [("Stable", "consumer")])
        described = client.describe_groups([group])[group]
        equal([each["client_id"] for each in described["members"]], ["the-member"])
        member.close()
        offsets = client.list_group_offsets(group)[group]
        equal({at.partition: value.offset for at, value in offsets.items()}, {0: 1, 1: 1})
        client.delete_groups([group])
        equal([each for each in client.list_groups() if each["group_id"] == group], [])
        try:
            client.describe_groups([group])
        except GroupIdNotFoundError:
            pass


@check
def topics_are_created_described_grown_and_deleted():
    name = topic(2, {"retention.ms": "60000"})
    with admin() as client:
        try:
            client.create_topics([NewTopic(name, 2, 1)])
            raise AssertionError("was created twice")
        except TopicAlreadyExistsError:
            pass
        equal(len(client.describe_topics([name])[0]["partitions"]), 2)
        resource = ConfigResource(ConfigResourceType.TOPIC, name)

        def retention():
            return client.describe_configs([resource])["topic"][name]["retention.ms"]["value"]

        equal(retention(), "60000")
        client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": "120000"})])
        eventually("the new retention", lambda: retention() == "120000")
        client.create_partitions({name: 5})
        eventually("five partitions", lambda: len(client.describe_topics([name])[0]["partitions"]) == 5)
        client.delete_topics([name])
        eventually("the topic is gone", lambda: name not in client.list_topics())


@check
def records_before_an_offset_are_deleted():
    name = topic()
    produce(name, 50)
    partition = TopicPartition(name, 0)
    with admin() as client:
        client.delete_records({partition: 20})
    reader = consumer()
    equal(reader.beginning_offsets([partition]), {partition: 20})
    reader.assign([partition])
    reader.seek_to_beginning(partition)
    equal(read(reader, 30)[0].offset, 20)
    reader.close()


@check
def an_unknown_topic_is_refused_or_created_as_the_client_asks():
    name = fresh("unknown")
    reader = consumer(allow_auto_create_topics=False)
    equal(reader.partitions_for_topic(name) or set(), set())
    reader.close()
    with admin() as client:
        try:
            client.delete_topics([name])
            raise AssertionError("was there")
        except UnknownTopicOrPartitionError:
            pass
    producer = KafkaProducer(bootstrap_servers=BROKERS)
    equal(producer.send(name, b"creates it").get(20).offset, 0)
    producer.close()


main("kafka-python")
