// franz-go: a client in pure Go that asks for the newest version of every API.
//
// Each check is a function; the outcome is one line per check and the exit code.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Of record timestamps, in ms: records of long ago would fall to the retention.
var start = time.Now().UnixMilli() - 60_000

var (
	brokers = strings.Split(os.Getenv("BROKERS"), ",")
	checks  = []struct {
		name string
		run  func(context.Context)
	}{
		{"records come back as sent in every compression", everyCompression},
		{"an idempotent producer numbers its records", idempotent},
		{"a copy in transactions is exact", transactionalCopy},
		{"a record that is too large is refused by name", tooLarge},
		{"offsets are found by place and by time", offsets},
		{"two members share and one takes over", func(ctx context.Context) { share(ctx, kgo.Balancers(kgo.RangeBalancer())) }},
		{"two members share by cooperation", func(ctx context.Context) { share(ctx, kgo.Balancers(kgo.CooperativeStickyBalancer())) }},
		{"two members share under the new protocol", func(ctx context.Context) { share(ctx, kgo.Balancers(kgo.RangeBalancer()), kgo.ServerSideBalancer()) }},
		{"a group resumes where it committed", resume},
		{"groups are listed described and deleted", groups},
		{"topics are created described altered grown and deleted", topics},
		{"records before an offset are deleted", deleteRecords},
		{"producers and log dirs are described", described},
	}
)

func main() {
	failed := false
	for _, check := range checks {
		if len(os.Args) > 1 && !strings.Contains(check.name, os.Args[1]) {
			continue
		}
		began := time.Now()
		outcome := "ok"
		if problem := attempt(check.run); problem != nil {
			fmt.Fprintln(os.Stderr, check.name+":", problem)
			outcome, failed = "FAILED", true
		}
		fmt.Printf("%-7sfranz-go: %s (%.1f s)\n", outcome, check.name, time.Since(began).Seconds())
	}
	if failed {
		os.Exit(1)
	}
}

// attempt runs a check with a deadline; what it panics with is how it failed.
func attempt(run func(context.Context)) (problem any) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	defer func() { problem = recover() }()
	run(ctx)
	return nil
}

func must[T any](value T, err error) T {
	none(err)
	return value
}

func none(err error) {
	if err != nil {
		panic(err)
	}
}

func equal[T comparable](what string, found, wanted T) {
	if found != wanted {
		panic(fmt.Sprintf("%s: found %v, wanted %v", what, found, wanted))
	}
}

func eventually(ctx context.Context, what string, condition func() bool) {
	for !condition() {
		if ctx.Err() != nil {
			panic("never happened: " + what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// fresh is a name that no other run has used: the broker may be an old one.
func fresh(word string) string { return word + "-" + strings.ToLower(rand.Text()[:8]) }

// How to connect; clients/security.sh adds how to log in.
func connect() []kgo.Opt {
	options := []kgo.Opt{kgo.SeedBrokers(brokers...)}
	authority, user := os.Getenv("TLS_CA"), os.Getenv("SASL_USER")
	if authority != "" {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(must(os.ReadFile(authority)))
		options = append(options, kgo.DialTLSConfig(&tls.Config{RootCAs: roots}))
	}
	if user != "" {
		login := scram.Auth{User: user, Pass: os.Getenv("SASL_PASSWORD")}
		options = append(options, kgo.SASL(login.AsSha512Mechanism()))
	}
	return options
}

func client(options ...kgo.Opt) *kgo.Client {
	return must(kgo.NewClient(append(connect(), append([]kgo.Opt{kgo.FetchMaxWait(200 * time.Millisecond)}, options...)...)...))
}

func admin() *kadm.Client { return kadm.NewClient(client()) }

func topic(ctx context.Context, partitions int32, configs map[string]*string) string {
	name := fresh("franz")
	adm := admin()
	defer adm.Close()
	none(must(adm.CreateTopic(ctx, partitions, 1, configs, name)).Err)
	return name
}

func record(name string, i int, partition int32) *kgo.Record {
	return &kgo.Record{
		Topic:     name,
		Partition: partition,
		Key:       fmt.Appendf(nil, "k%d", i),
		Value:     fmt.Appendf(nil, "v%d %s", i, strings.Repeat("x", 50)),
		Headers:   []kgo.RecordHeader{{Key: "n", Value: fmt.Append(nil, i)}, {Key: "empty", Value: []byte{}}, {Key: "null", Value: nil}},
		Timestamp: time.UnixMilli(start + int64(i)),
	}
}

func produce(ctx context.Context, name string, count int, partitions int32, options ...kgo.Opt) []*kgo.Record {
	producer := client(append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	defer producer.Close()
	var records []*kgo.Record
	for i := range count {
		records = append(records, record(name, i, int32(i)%partitions))
	}
	none(producer.ProduceSync(ctx, records...).FirstErr())
	return records
}

func read(ctx context.Context, reader *kgo.Client, count int) []*kgo.Record {
	var records []*kgo.Record
	for len(records) < count {
		fetches := reader.PollFetches(ctx)
		none(fetches.Err())
		records = append(records, fetches.Records()...)
	}
	return records
}

func everyCompression(ctx context.Context) {
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		name = topic(ctx, 1, nil)
		produce(ctx, name, 200, 1, kgo.ProducerBatchCompression(codec))
		reader := client(kgo.ConsumeTopics(name))
		for i, found := range read(ctx, reader, 200) {
			wanted := record(name, i, 0)
			equal("offset", found.Offset, int64(i))
			equal("key", string(found.Key), string(wanted.Key))
			equal("value", string(found.Value), string(wanted.Value))
			equal("timestamp", found.Timestamp.UnixMilli(), start+int64(i))
			equal("headers", fmt.Sprintf("%q", found.Headers), fmt.Sprintf("%q", wanted.Headers))
			equal("null header", found.Headers[2].Value == nil, true)
		}
		reader.Close()
	}
}

func idempotent(ctx context.Context) {
	name := topic(ctx, 3, nil)
	for i, sent := range produce(ctx, name, 3000, 3, kgo.ProducerBatchMaxBytes(4096)) {
		equal("offset", sent.Offset, int64(i/3))
	}
}

func transactionalCopy(ctx context.Context) {
	source, target := topic(ctx, 2, nil), topic(ctx, 2, nil)
	produced := produce(ctx, source, 100, 2)
	start := kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())
	session := must(kgo.NewGroupTransactSession(append(connect(),
		kgo.TransactionalID(fresh("copy")), kgo.ConsumerGroup(fresh("group")), kgo.ConsumeTopics(source),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(), start, kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)...))
	defer session.Close()
	for round, copied := 1, 0; copied < len(produced); round++ {
		fetches := session.PollRecords(ctx, 10)
		none(fetches.Err())
		none(session.Begin())
		for _, found := range fetches.Records() {
			session.Produce(ctx, &kgo.Record{Topic: target, Partition: found.Partition, Key: found.Key, Value: found.Value}, nil)
		}
		if must(session.End(ctx, kgo.TransactionEndTry(round%3 != 0))) {
			copied += fetches.NumRecords()
		}
	}
	reader := client(kgo.ConsumeTopics(target), kgo.FetchIsolationLevel(kgo.ReadCommitted()), start)
	defer reader.Close()
	keys := func(records []*kgo.Record) string {
		var keys []string
		for _, one := range records {
			keys = append(keys, string(one.Key))
		}
		sort.Strings(keys)
		return strings.Join(keys, " ")
	}
	equal("copied", keys(read(ctx, reader, len(produced))), keys(produced))
}

func tooLarge(ctx context.Context) {
	limit := "10000"
	name := topic(ctx, 1, map[string]*string{"max.message.bytes": &limit})
	producer := client(kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer producer.Close()
	problem := producer.ProduceSync(ctx, &kgo.Record{Topic: name, Value: make([]byte, 20000)}).FirstErr()
	equal("too large", errors.Is(problem, kerr.MessageTooLarge), true)
	none(producer.ProduceSync(ctx, &kgo.Record{Topic: name, Value: []byte("small")}).FirstErr())
}

func offsets(ctx context.Context) {
	name := topic(ctx, 1, nil)
	produce(ctx, name, 100, 1)
	adm := admin()
	defer adm.Close()
	at := func(listed kadm.ListedOffsets, err error) int64 {
		none(err)
		found, _ := listed.Lookup(name, 0)
		none(found.Err)
		return found.Offset
	}
	equal("earliest", at(adm.ListStartOffsets(ctx, name)), 0)
	equal("latest", at(adm.ListEndOffsets(ctx, name)), 100)
	equal("by time", at(adm.ListOffsetsAfterMilli(ctx, start+42, name)), 42)
	equal("newest", at(adm.ListMaxTimestampOffsets(ctx, name)), 99)
	reader := client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: {0: kgo.NewOffset().At(97)}}))
	defer reader.Close()
	equal("offset read", read(ctx, reader, 3)[0].Offset, 97)
}

// member is a group consumer that counts what it owns.
type member struct {
	*kgo.Client
	mutex sync.Mutex
	owned map[int32]bool
}

func join(name, group string, options ...kgo.Opt) *member {
	m := &member{owned: map[int32]bool{}}
	change := func(owns bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			m.mutex.Lock()
			defer m.mutex.Unlock()
			for _, partition := range changed[name] {
				delete(m.owned, partition)
				if owns {
					m.owned[partition] = true
				}
			}
		}
	}
	m.Client = client(append(options,
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(name), kgo.HeartbeatInterval(300*time.Millisecond),
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)),
		kgo.DisableAutoCommit(),
	)...)
	return m
}

func (m *member) owns() int {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return len(m.owned)
}

func share(ctx context.Context, options ...kgo.Opt) {
	name, group := topic(ctx, 4, nil), fresh("group")
	produce(ctx, name, 40, 4)
	first, second := join(name, group, options...), join(name, group, options...)
	defer first.Close()
	eventually(ctx, "two partitions each", func() bool { return first.owns() == 2 && second.owns() == 2 })
	second.Close()
	eventually(ctx, "all four", func() bool { return first.owns() == 4 })
	equal("records", len(read(ctx, first.Client, 20)) >= 20, true)
}

func resume(ctx context.Context) {
	name, group := topic(ctx, 1, nil), fresh("group")
	produce(ctx, name, 30, 1)
	first := join(name, group, kgo.Balancers(kgo.RangeBalancer()))
	records := read(ctx, first.Client, 30)
	none(first.CommitRecords(ctx, records[11]))
	first.Close()
	second := join(name, group, kgo.Balancers(kgo.RangeBalancer()))
	defer second.Close()
	equal("first offset", read(ctx, second.Client, 18)[0].Offset, 12)
}

func groups(ctx context.Context) {
	name, group := topic(ctx, 2, nil), fresh("group")
	produce(ctx, name, 2, 2)
	m := join(name, group, kgo.Balancers(kgo.RangeBalancer()))
	none(m.CommitRecords(ctx, read(ctx, m.Client, 2)...))
	adm := admin()
	defer adm.Close()
	listed := must(adm.ListGroups(ctx))
	equal("listed", listed[group].State, "Stable")
	lag := must(adm.Lag(ctx, group))[group]
	equal("lag", lag.Lag.Total(), 0)
	equal("members", len(lag.Members), 1)
	m.Close()
	eventually(ctx, "an empty group", func() bool { return must(adm.DescribeGroups(ctx, group))[group].State == "Empty" })
	none(must(adm.DeleteGroups(ctx, group))[group].Err)
	_, there := must(adm.ListGroups(ctx))[group]
	equal("still there", there, false)
}

func topics(ctx context.Context) {
	retention, longer := "60000", "120000"
	name := topic(ctx, 2, map[string]*string{"retention.ms": &retention})
	adm := admin()
	defer adm.Close()
	_, problem := adm.CreateTopic(ctx, 2, 1, nil, name)
	equal("created twice", errors.Is(problem, kerr.TopicAlreadyExists), true)
	setting := func() string {
		for _, config := range must(must(adm.DescribeTopicConfigs(ctx, name)).On(name, nil)).Configs {
			if config.Key == "retention.ms" {
				return *config.Value
			}
		}
		return "none"
	}
	equal("created with", setting(), retention)
	altered := must(adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &longer}}, name))
	none(altered[0].Err)
	eventually(ctx, "the new retention", func() bool { return setting() == longer })
	none(must(adm.CreatePartitions(ctx, 3, name)).Error())
	eventually(ctx, "five partitions", func() bool { return len(must(adm.ListTopics(ctx, name))[name].Partitions) == 5 })
	none(must(adm.DeleteTopics(ctx, name)).Error())
	eventually(ctx, "the topic is gone", func() bool { return !must(adm.ListTopics(ctx)).Has(name) })
}

func deleteRecords(ctx context.Context) {
	name := topic(ctx, 1, nil)
	produce(ctx, name, 50, 1)
	adm := admin()
	defer adm.Close()
	before := kadm.Offsets{}
	before.AddOffset(name, 0, 20, -1)
	none(must(adm.DeleteRecords(ctx, before)).Error())
	found, _ := must(adm.ListStartOffsets(ctx, name)).Lookup(name, 0)
	equal("earliest", found.Offset, 20)
}

func described(ctx context.Context) {
	name := topic(ctx, 1, nil)
	produce(ctx, name, 50, 1)
	adm := admin()
	defer adm.Close()
	var set kadm.TopicsSet
	set.Add(name, 0)
	producers := must(adm.DescribeProducers(ctx, set))
	equal("producers", len(producers[name].Partitions[0].ActiveProducers), 1)
	var sizes []int64
	must(adm.DescribeAllLogDirs(ctx, set)).Each(func(dir kadm.DescribedLogDir) { sizes = append(sizes, dir.Size()) })
	sort.Slice(sizes, func(a, b int) bool { return sizes[a] < sizes[b] })
	equal("log dir has bytes", len(sizes) > 0 && sizes[len(sizes)-1] > 0, true)
}
