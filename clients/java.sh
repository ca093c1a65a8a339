#!/usr/bin/env bash
# Kafka's own Java clients, by way of its command line tools: the reference for what a broker must answer.
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

produce() {
  local topic=$1
  shift
  kafka_tool console-producer --topic "$topic" --property parse.key=true --property key.separator=: "$@"
}

# Since 4.2 the tool says among the records that the option is deprecated, which is the only one that 4.1 knows.
consume() {
  local topic=$1
  shift
  kafka_tool console-consumer --topic "$topic" --timeout-ms 20000 --property print.key=true \
    --property key.separator=: "$@" 2>"$work/errors" | sed '/^Option --property is deprecated/d' ||
    { cat "$work/errors" >&2; return 1; }
}

create() { kafka_tool topics --create --topic "$1" --partitions "${2:-1}" "${@:3}" >/dev/null; }

lines() { seq "$1" "$2" | sed 's/.*/k&:v&/'; }

offsets() { kafka_tool get-offsets --topic "$@"; }

check_topics_are_created_described_grown_and_deleted() {
  local topic found
  topic=$(fresh java)
  create "$topic" 2 --config retention.ms=60000
  found=$(kafka_tool topics --describe --topic "$topic")
  contains "describe" "$found" "PartitionCount: 2"
  contains "describe" "$found" "retention.ms=60000"
  contains "describe" "$found" "Partition: 1"
  if found=$(kafka_tool topics --create --topic "$topic" 2>&1); then echo "created twice" >&2; return 1; fi
  contains "create again" "$found" "already exists"
  kafka_tool topics --alter --topic "$topic" --partitions 5
  eventually "five partitions" has_five "$topic"
  kafka_tool topics --delete --topic "$topic"
  eventually "the topic is gone" gone "$topic"
}

has_five() { [[ $(kafka_tool topics --describe --topic "$1") == *"PartitionCount: 5"* ]]; }
gone() { [[ $(kafka_tool topics --list) != *"$1"* ]]; }

check_configs_are_described_and_altered() {
  local topic found
  topic=$(fresh java)
  create "$topic"
  kafka_tool configs --alter --entity-type topics --entity-name "$topic" --add-config retention.ms=70000,segment.bytes=20000000 >/dev/null
  eventually "retention is altered" configured "$topic" retention.ms=70000
  eventually "segment size is altered" configured "$topic" segment.bytes=20000000
  kafka_tool configs --alter --entity-type topics --entity-name "$topic" --delete-config retention.ms >/dev/null
  eventually "the setting is gone" unconfigured "$topic" retention.ms
  contains "all of a topic" "$(kafka_tool configs --describe --all --entity-type topics --entity-name "$topic")" "retention.ms=604800000"
  contains "all of a broker" "$(kafka_tool configs --describe --all --entity-type brokers --entity-name 1)" "message.max.bytes="
  if found=$(kafka_tool configs --alter --entity-type topics --entity-name "$topic" --add-config no.such=1 2>&1); then return 1; fi
  contains "an unknown one" "$found" "no.such"
}

configured() { [[ $(kafka_tool configs --describe --entity-type topics --entity-name "$1") == *"$2"* ]]; }
unconfigured() { ! configured "$@"; }

check_records_come_back_as_sent_in_every_compression() {
  local codec topic
  for codec in none gzip snappy lz4 zstd; do
    topic=$(fresh java)
    create "$topic"
    lines 1 200 | produce "$topic" --compression-codec "$codec"
    equal "$codec" "$(consume "$topic" --from-beginning --max-messages 200)" "$(lines 1 200)"
  done
}

check_headers_and_timestamps_are_kept() {
  local topic
  topic=$(fresh java)
  create "$topic"
  printf 'colour:green,shape:round\tk1\tv1\n' | kafka_tool console-producer --topic "$topic" \
    --property parse.key=true --property parse.headers=true
  contains "record" "$(consume "$topic" --from-beginning --max-messages 1 --property print.headers=true \
    --property print.timestamp=true --property print.offset=true)" \
    "Offset:0:colour:green,shape:round:k1:v1"
}

check_offsets_are_told_by_place_and_by_time() {
  local topic middle
  topic=$(fresh java)
  create "$topic"
  lines 1 10 | produce "$topic"
  sleep 0.05
  middle=$(date +%s%3N)
  sleep 0.05
  lines 11 20 | produce "$topic"
  equal "earliest" "$(offsets "$topic" --time earliest)" "$topic:0:0"
  equal "latest" "$(offsets "$topic")" "$topic:0:20"
  equal "by time" "$(offsets "$topic" --time "$middle")" "$topic:0:10"
  contains "newest" "$(offsets "$topic" --time max-timestamp)" "$topic:0:1"
}

check_a_group_resumes_is_described_reset_and_deleted() {
  local topic group found
  topic=$(fresh java) group=$(fresh group)
  create "$topic"
  lines 1 10 | produce "$topic"
  equal "the first four" "$(consume "$topic" --group "$group" --from-beginning --max-messages 4)" "$(lines 1 4)"
  found=$(kafka_tool consumer-groups --describe --group "$group" 2>/dev/null | awk '$1 == "'"$group"'" {print $3, $4, $5, $6}')
  equal "partition, committed, end, lag" "$found" "0 4 10 6"
  equal "the rest" "$(consume "$topic" --group "$group" --max-messages 6)" "$(lines 5 10)"
  contains "list" "$(kafka_tool consumer-groups --list)" "$group"
  contains "state" "$(kafka_tool consumer-groups --describe --group "$group" --state 2>/dev/null)" "Empty"
  kafka_tool consumer-groups --reset-offsets --group "$group" --topic "$topic" --to-offset 8 --execute >/dev/null 2>&1
  equal "after the reset" "$(consume "$topic" --group "$group" --max-messages 2)" "$(lines 9 10)"
  kafka_tool consumer-groups --delete-offsets --group "$group" --topic "$topic" >/dev/null
  kafka_tool consumer-groups --delete --group "$group" >/dev/null
  found=$(kafka_tool consumer-groups --list)
  [[ $found != *"$group"* ]]
}

check_members_of_a_running_group_are_shown() { two_members heartbeat.interval.ms=300 heartbeat.interval.ms=300; }
check_members_of_the_new_protocol_are_shown() { two_members group.protocol=consumer group.protocol=consumer; }
check_members_of_both_protocols_are_one_group() { two_members heartbeat.interval.ms=300 group.protocol=consumer; }

# two_members PROPERTY PROPERTY: each with a property of its own, share four partitions.
two_members() {
  local topic group member pids=()
  topic=$(fresh java) group=$(fresh group)
  create "$topic" 4
  for member in 1 2; do
    # Not by way of `kafka_tool`: the shell that would run it has another pid than the tool.
    "$kafka" tool console-consumer --bootstrap-server "$BROKERS" --topic "$topic" --group "$group" --timeout-ms 60000 \
      --consumer-property "${!member}" >"$work/members-$member" 2>&1 &
    pids+=($!)
  done
  eventually "two members with two partitions each" two_and_two "$group"
  lines 1 100 | produce "$topic"
  eventually "all records" members_read 100
  kill "${pids[@]}"
  wait "${pids[@]}" || true
}

two_and_two() {
  [[ $(kafka_tool consumer-groups --describe --group "$1" --members 2>/dev/null | awk '$1 == "'"$1"'" {printf "%s ", $5}') == "2 2 " ]]
}

members_read() { [[ $(cat "$work"/members-[12] | grep -c '^v') == "$1" ]]; }

check_records_before_an_offset_are_deleted() {
  local topic
  topic=$(fresh java)
  create "$topic"
  lines 1 10 | produce "$topic"
  printf '{"partitions": [{"topic": "%s", "partition": 0, "offset": 7}], "version": 1}' "$topic" >"$work/delete.json"
  contains "new start" "$(kafka_tool delete-records --offset-json-file "$work/delete.json")" "low_watermark: 7"
  equal "earliest" "$(offsets "$topic" --time earliest)" "$topic:0:7"
}

check_the_performance_test_runs_with_every_acknowledgement() {
  local topic acks found
  for acks in 0 1 all; do
    topic=$(fresh java)
    create "$topic" 3
    found=$("$kafka" tool producer-perf-test --topic "$topic" --num-records 20000 --record-size 100 --throughput -1 \
      --producer-props bootstrap.servers="$BROKERS" acks=$acks)
    contains "acks=$acks" "$found" "20000 records sent"
    eventually "20000 records with acks=$acks" stored "$topic" 20000
  done
}

stored() { [[ $(offsets "$1" | awk -F: '{n += $3} END {print n}') == "$2" ]]; }

check_transactions_are_read_whole_and_shown() {
  local topic id found
  topic=$(fresh java) id=$(fresh txn)
  create "$topic" 2
  "$kafka" tool producer-perf-test --topic "$topic" --num-records 3000 --record-size 50 --throughput -1 \
    --producer-props bootstrap.servers="$BROKERS" --transactional-id "$id" --transaction-duration-ms 50 >/dev/null
  found=$(consume "$topic" --from-beginning --max-messages 3000 --isolation-level read_committed | wc -l)
  equal "committed records" "$found" 3000
  contains "list" "$(kafka_tool transactions list)" "$id"
  found=$(kafka_tool transactions describe --transactional-id "$id")
  contains "describe" "$found" "CompleteCommit"
  found=$(kafka_tool transactions describe-producers --topic "$topic" --partition 0 | awk 'NR == 2 {print $6}')
  equal "no open transaction" "$found" "None"
  found=$(kafka_tool transactions find-hanging --topic "$topic" 2>&1 | awk 'NR > 1')
  equal "none hangs" "$found" ""
}

check_the_broker_tells_its_versions_and_folders() {
  local found topic
  topic=$(fresh java)
  create "$topic"
  found=$(kafka_tool broker-api-versions)
  contains "versions" "$found" "Produce(0): "
  contains "versions" "$found" "DescribeLogDirs(35): "
  contains "log dirs" "$(kafka_tool log-dirs --describe --topic-list "$topic")" "\"partition\":\"$topic-0\""
  contains "cluster" "$("$kafka" tool cluster cluster-id --bootstrap-server "$BROKERS")" "Cluster ID: "
}

run_checks "java tools" "$@"
