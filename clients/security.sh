#!/usr/bin/env bash
# TLS, logins, ACLs and quotas, by Kafka's Java tools and kcat, on a broker of their own.
BROKERS=${BROKERS:-none yet}
source "$(dirname "${BASH_SOURCE[0]}")/checks.sh"

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
millstream=$here/../target/debug/millstream clients=$here/../target/clients
trap 'kill "$broker" 2>/dev/null; rm -rf "$work"' EXIT

openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/server.key" -out "$work/server.pem" -days 365 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost,IP:127.0.0.1 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$work/other.key" -out "$work/other.pem" -days 365 -subj /CN=other 2>/dev/null
echo admin:change-me >"$work/users"
"$millstream" broker --listen login=sasl_ssl://127.0.0.1:0 --listen plain=sasl_plaintext://127.0.0.1:0 --data "$work/data" \
  --tls-certificate "$work/server.pem" --tls-key "$work/server.key" --users "$work/users" --super-user admin \
  >"$work/addresses" 2>"$work/broker.log" &
broker=$!
listening() { [[ $(wc -l <"$work/addresses") == 2 ]]; }
eventually "the broker listens" listening
BROKERS=$(sed -n 's/^listening on login=//p' "$work/addresses")
plain=$(sed -n 's/^listening on plain=//p' "$work/addresses")

# properties FILE MECHANISM USER PASSWORD [AUTHORITY]
properties() {
  local module=scram.ScramLoginModule
  [[ $2 != PLAIN ]] || module=plain.PlainLoginModule
  cat >"$work/$1" <<END
security.protocol=SASL_SSL
ssl.truststore.type=PEM
ssl.truststore.location=$work/${5:-server}.pem
sasl.mechanism=$2
sasl.jaas.config=org.apache.kafka.common.security.$module required username="$3" password="$4";
request.timeout.ms=15000
default.api.timeout.ms=15000
END
}

# as FILE TOOL ARGS..: a tool with these properties.
as() {
  local file=$1 tool=$2
  shift 2
  kafka_tool "$tool" --command-config "$work/$file" "$@"
}

properties admin SCRAM-SHA-512 admin change-me
properties plain PLAIN admin change-me
properties wrong SCRAM-SHA-256 admin wrong
properties stranger SCRAM-SHA-256 admin change-me other
properties alice SCRAM-SHA-256 alice wonder

check_every_mechanism_logs_in_by_tls() {
  local file
  for file in admin plain; do
    as "$file" topics --create --topic "by-$file" >/dev/null
    contains "$file" "$(as "$file" topics --list)" "by-$file"
  done
  properties sha256 SCRAM-SHA-256 admin change-me
  contains "SCRAM-SHA-256" "$(as sha256 topics --list)" "by-admin"
}

check_a_wrong_password_and_a_wrong_certificate_are_refused_by_name() {
  local found
  if found=$(as wrong topics --list 2>&1); then return 1; fi
  contains "wrong password" "$found" "invalid credentials with SASL mechanism SCRAM-SHA-256"
  contains "the broker's log" "$(<"$work/broker.log")" "wrong credentials of user \`admin\`"
  if found=$(as stranger topics --list 2>&1); then return 1; fi
  contains "wrong certificate" "$found" "SSL handshake failed"
  if found=$(kafka_tool topics --command-config <(echo "default.api.timeout.ms=5000") --list 2>&1); then return 1; fi
  if grep -q change-me "$work/broker.log"; then echo "a password is in the log" >&2; return 1; fi
}

check_a_user_is_added_and_may_do_what_acls_allow() {
  local found
  as admin configs --alter --entity-type users --entity-name alice \
    --add-config 'SCRAM-SHA-256=[iterations=8192,password=wonder]' >/dev/null
  contains "the user" "$(as admin configs --describe --entity-type users --entity-name alice 2>&1)" "SCRAM-SHA-256=iterations=8192"
  as admin topics --create --topic calls >/dev/null
  as admin topics --create --topic hidden >/dev/null
  equal "nothing is shown" "$(as alice topics --list)" ""
  as admin acls --add --allow-principal User:alice --producer --topic calls >/dev/null
  as admin acls --add --allow-principal User:alice --consumer --topic calls --group app- --resource-pattern-type prefixed >/dev/null
  equal "what is shown" "$(as alice topics --list)" "calls"
  contains "the rules" "$(as admin acls --list --principal User:alice)" "operation=WRITE, permissionType=ALLOW"
  seq 1 50 | kafka_tool console-producer --topic calls --producer.config "$work/alice"
  equal "records" "$(kafka_tool console-consumer --topic calls --group app-1 --from-beginning --max-messages 50 \
    --timeout-ms 20000 --consumer.config "$work/alice" 2>/dev/null)" "$(seq 1 50)"
  found=$(kafka_tool console-consumer --topic calls --group other --max-messages 1 --timeout-ms 20000 \
    --consumer.config "$work/alice" 2>&1 || true)
  contains "another group" "$found" "GroupAuthorizationException"
  found=$(echo x | kafka_tool console-producer --topic hidden --producer.config "$work/alice" 2>&1 || true)
  contains "another topic" "$found" "TopicAuthorizationException"
  if found=$(as alice acls --list 2>&1); then return 1; fi
  contains "rules" "$found" "ClusterAuthorizationException"
  as admin acls --remove --force --allow-principal User:alice --producer --topic calls --resource-pattern-type any >/dev/null
  found=$(echo x | kafka_tool console-producer --topic calls --producer.config "$work/alice" 2>&1 || true)
  # Whoever may write to no topic may not be an idempotent producer either, and that is asked first.
  contains "after the rule" "$found" "ClusterAuthorizationException"
  as admin configs --alter --entity-type users --entity-name alice --delete-config SCRAM-SHA-256 >/dev/null
  if found=$(as alice topics --list 2>&1); then return 1; fi
  contains "a deleted user" "$found" "invalid credentials"
}

check_quotas_are_set_shown_and_hold() {
  local found
  as admin topics --create --topic slow >/dev/null
  as admin configs --alter --entity-type users --entity-name admin --add-config producer_byte_rate=20000 >/dev/null
  found=$(as admin configs --describe --entity-type users --entity-name admin)
  contains "quota" "$found" "producer_byte_rate=20000.0"
  # 300 KB: ten seconds' worth at once, and five more to wait for.
  found=$("$kafka" tool producer-perf-test --topic slow --num-records 3000 --record-size 100 --throughput -1 --print-metrics \
    --producer.config "$work/admin" --producer-props bootstrap.servers="$BROKERS" |
    sed -n 's/.*produce-throttle-time-max:{[^}]*} *: *//p')
  [[ ${found%.*} -gt 0 ]] || { echo "throttled for $found ms" >&2; return 1; }
  as admin configs --alter --entity-type users --entity-name admin --delete-config producer_byte_rate >/dev/null
}

check_kcat_logs_in() {
  local options=(-X security.protocol=sasl_ssl -X "ssl.ca.location=$work/server.pem" -X sasl.username=admin)
  local mechanism
  as admin topics --create --topic kcat >/dev/null
  for mechanism in PLAIN SCRAM-SHA-256 SCRAM-SHA-512; do
    echo "$mechanism" | kcat -b "$BROKERS" "${options[@]}" -X sasl.mechanism="$mechanism" -X sasl.password=change-me -P -t kcat
  done
  equal "records" "$(kcat -b "$BROKERS" "${options[@]}" -X sasl.mechanism=PLAIN -X sasl.password=change-me -C -t kcat -e -q)" \
    $'PLAIN\nSCRAM-SHA-256\nSCRAM-SHA-512'
}

# All that confluent-kafka and franz-go do without security works with it.
check_confluent_kafka_does_everything_over_tls() {
  CLIENT_SETTINGS='{"security.protocol": "sasl_ssl", "ssl.ca.location": "'$work'/server.pem", "sasl.mechanism": "SCRAM-SHA-256",
    "sasl.username": "admin", "sasl.password": "change-me"}' BROKERS=$BROKERS "$clients/venv/bin/python" -B "$here/python_confluent.py"
}

check_franz_go_does_everything_over_tls() {
  TLS_CA=$work/server.pem SASL_USER=admin SASL_PASSWORD=change-me BROKERS=$BROKERS "$clients/franz-go"
}

# What speaks TLS does not meet what does not, and neither waits for ever.
check_tls_and_plain_text_do_not_meet() {
  local found
  found=$(timeout 20 kcat -b "$BROKERS" -L -m 3 2>&1 || true)
  contains "plain text on a TLS port" "$found" "connecting to a SSL listener"
  found=$(timeout 20 kcat -b "$plain" -X security.protocol=ssl -X enable.ssl.certificate.verification=false -L -m 3 2>&1 || true)
  contains "TLS on a plain port" "$found" "SSL handshake failed"
  contains "the broker's log" "$(<"$work/broker.log")" "what came is not TLS"
  contains "the broker's log" "$(<"$work/broker.log")" "it begins as TLS does"
}

run_checks security "$@"
