#!/usr/bin/env bash
# kcat as Debian has it: librdkafka 2.0.2, which speaks older versions of the protocol than today's clients.
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

cat_() { timeout 60 kcat -b "$BROKERS" -q "$@"; }

lines() { seq "$1" "$2" | sed 's/.*/k&:v&/'; }

check_records_come_back_as_sent_in_every_compression() {
  local codec topic
  for codec in none gzip snappy lz4 zstd; do
    topic=$(fresh kcat)
    lines 1 300 | cat_ -P -t "$topic" -K: -H colour=green -H empty= -X compression.codec="$codec"
    equal "$codec" "$(cat_ -C -t "$topic" -e -f '%k:%s\n')" "$(lines 1 300)"
    equal "$codec: offset, headers" "$(cat_ -C -t "$topic" -o 299 -e -f '%o %h\n')" "299 colour=green,empty="
  done
}

check_an_idempotent_producer_is_served() {
  local topic
  topic=$(fresh kcat)
  lines 1 1000 | cat_ -P -t "$topic" -K: -X enable.idempotence=true
  equal "all in order" "$(cat_ -C -t "$topic" -e -K:)" "$(lines 1 1000)"
}

check_metadata_names_the_broker_and_the_topic() {
  local topic found
  topic=$(fresh kcat)
  echo x | cat_ -P -t "$topic"
  found=$(cat_ -L -t "$topic")
  for broker in ${BROKERS//,/ }; do contains "metadata" "$found" "at $broker"; done
  contains "metadata" "$found" "topic \"$topic\" with 1 partitions"
}

check_null_and_empty_values_are_told_apart() {
  local topic
  topic=$(fresh kcat)
  printf 'a:\nb:x\n' | cat_ -P -t "$topic" -K: -Z
  equal "length of the values" "$(cat_ -C -t "$topic" -e -f '%k %S\n')" $'a -1\nb 1'
}

check_offsets_from_the_end_and_by_time() {
  local topic middle
  topic=$(fresh kcat)
  lines 1 10 | cat_ -P -t "$topic" -K:
  equal "the last three" "$(cat_ -C -t "$topic" -o -3 -e -f '%o ')" "7 8 9 "
  sleep 0.05
  middle=$(date +%s%3N)
  lines 11 20 | cat_ -P -t "$topic" -K:
  equal "from a time" "$(cat_ -C -t "$topic" -o "s@$middle" -e -f '%o ')" "10 11 12 13 14 15 16 17 18 19 "
  equal "query by time" "$(cat_ -Q -t "$topic:0:$middle")" "$topic [0] offset 10"
}

check_a_group_resumes_where_it_ended() {
  local topic group
  topic=$(fresh kcat) group=$(fresh group)
  lines 1 10 | cat_ -P -t "$topic" -K:
  equal "the first four" "$(cat_ -G "$group" -c 4 -f '%s ' -X auto.offset.reset=earliest "$topic")" "v1 v2 v3 v4 "
  equal "the rest" "$(cat_ -G "$group" -e -f '%s ' -X auto.offset.reset=earliest "$topic")" "v5 v6 v7 v8 v9 v10 "
}

check_two_members_share_a_topic() {
  local topic group member pids=()
  topic=$(fresh kcat) group=$(fresh group)
  kafka_tool topics --create --topic "$topic" --partitions 4 >/dev/null
  for member in 1 2; do
    # Without -q: the assignment is what we look for.
    timeout 60 kcat -b "$BROKERS" -G "$group" -u -f '%p:%s\n' -X auto.offset.reset=earliest \
      -X heartbeat.interval.ms=300 -X session.timeout.ms=6000 "$topic" >"$work/out-$member" 2>"$work/err-$member" &
    pids+=($!)
  done
  eventually "two partitions each" each_has_two "$topic"
  for partition in 0 1 2 3; do echo "second" | cat_ -P -t "$topic" -p $partition; done
  eventually "all records" all_seen
  kill "${pids[@]}"
  wait "${pids[@]}" || true
}

each_has_two() {
  local member
  for member in 1 2; do
    [[ $(grep -o "$1 \[[0-9]\]" <<<"$(grep assigned: "$work/err-$member" | tail -n 1)" | wc -l) == 2 ]] || return 1
  done
}

all_seen() { [[ $(cat "$work"/out-[12] | grep -c second) == 4 ]]; }

run_checks kcat "$@"
