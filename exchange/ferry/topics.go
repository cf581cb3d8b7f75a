package ferry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"
)

// Topic is a wanted topic.
type Topic struct {
	Name        string
	Partitions  int
	Replication int // copies; 1 on a single broker
	Settings    map[string]string
}

// Layout is what the topics follow from.
type Layout struct {
	Fronts      []FrontLayout
	Slots       []string // "00" to "99"
	Replication int      // 0: 1. Two in-sync copies are demanded from 3 on.
	Gateways    []string // Kafka principals of gateways, such as "User:CN=gateway", for PlanAccess
}

// FrontLayout is one front.
type FrontLayout struct {
	Name       string
	Replicas   int           // processes expected at most; 0: 2
	Deferred   time.Duration // longest deadline of deferred legs; 0: none are taken
	Principals []string      // its Kafka principals, for PlanAccess
}

const (
	liveRetention   = 2 * time.Minute
	segmentTime     = time.Minute
	deferredMargin  = 24 * time.Hour
	controlKept     = 24 * time.Hour
	deadLetterKept  = 14 * 24 * time.Hour
	leastPartitions = 4
)

// Topics describes the wanted topics, by name.
func Topics(l Layout) ([]Topic, error) {
	b := layoutBuilder{replication: max(1, l.Replication)}
	longest := time.Duration(0)
	for _, f := range l.Fronts {
		if !frontName.MatchString(f.Name) {
			return nil, fmt.Errorf("front %q does not fit into a topic name", f.Name)
		}
		replicas := f.Replicas
		if replicas <= 0 {
			replicas = 2
		}
		b.add(RequestTopic(f.Name), max(leastPartitions, 2*replicas), deleting(liveRetention))
		if f.Deferred > 0 {
			longest = max(longest, f.Deferred)
			b.add(DeferredRequestTopic(f.Name), leastPartitions, deleting(f.Deferred+deferredMargin))
		}
	}
	for _, s := range l.Slots {
		if !slotName.MatchString(s) {
			return nil, fmt.Errorf("slot %q is not two digits", s)
		}
		b.add(ReplyTopic(s), 1, deleting(liveRetention))
	}
	if longest > 0 {
		b.add(TopicDeferredReply, leastPartitions, deleting(longest+deferredMargin))
	}
	b.add(TopicControl, 1, map[string]string{"cleanup.policy": "compact,delete", "retention.ms": ms(controlKept),
		"segment.ms": ms(segmentTime), "min.cleanable.dirty.ratio": "0.1", "message.timestamp.type": "LogAppendTime"})
	b.add(TopicDeadLetter, 1, map[string]string{"cleanup.policy": "delete", "retention.ms": ms(deadLetterKept)})
	sort.Slice(b.topics, func(i, j int) bool { return b.topics[i].Name < b.topics[j].Name })
	return b.topics, nil
}

type layoutBuilder struct {
	replication int
	topics      []Topic
}

func (b *layoutBuilder) add(name string, partitions int, settings map[string]string) {
	settings["compression.type"] = "uncompressed"
	settings["segment.bytes"] = strconv.Itoa(4 << 20)
	if b.replication >= 3 {
		settings["min.insync.replicas"] = "2"
	}
	b.topics = append(b.topics, Topic{Name: name, Partitions: partitions, Replication: b.replication, Settings: settings})
}

// deleting are the settings of topics that hold envelopes.
func deleting(kept time.Duration) map[string]string {
	return map[string]string{"cleanup.policy": "delete", "retention.ms": ms(kept), "segment.ms": ms(segmentTime),
		"message.timestamp.type": "LogAppendTime"}
}

func ms(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Change is one difference between the cluster and what is wanted.
type Change struct {
	Topic   string
	What    string // "topic", "partitions", "acl" or the name of a setting
	Have    string // empty: it does not exist
	Want    string
	Problem string // not empty: it cannot be changed, and why
	wanted  Topic
	grant   *grant // of an "acl"
}

// String is one line of a diff.
func (c Change) String() string {
	switch {
	case c.Problem != "":
		return fmt.Sprintf("! %s %s: %s, wanted %s (%s)", c.Topic, c.What, c.Have, c.Want, c.Problem)
	case c.grant != nil:
		return "+ acl: " + c.Want
	case c.What == "topic":
		return fmt.Sprintf("+ %s (%s)", c.Topic, c.Want)
	}
	return fmt.Sprintf("~ %s %s: %s -> %s", c.Topic, c.What, c.Have, c.Want)
}

// PlanTopics compares the cluster with what is wanted. Topics that are not
// wanted are left alone.
func (k *Kafka) PlanTopics(ctx context.Context, wanted []Topic) ([]Change, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	have, err := k.admin.ListTopics()
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	var changes []Change
	for _, t := range wanted {
		h, exists := have[t.Name]
		if !exists {
			changes = append(changes, Change{Topic: t.Name, What: "topic", Want: t.describe(), wanted: t})
			continue
		}
		changes = append(changes, t.compareShape(h)...)
		settings, err := k.settings(t.Name)
		if err != nil {
			return nil, err
		}
		changes = append(changes, t.compareSettings(settings)...)
	}
	return changes, nil
}

func (t Topic) describe() string {
	names := make([]string, 0, len(t.Settings))
	for name, value := range t.Settings {
		names = append(names, name+"="+value)
	}
	slices.Sort(names)
	return fmt.Sprintf("partitions=%d replication=%d %s", t.Partitions, t.Replication, strings.Join(names, " "))
}

// compareShape compares partitions and copies. More partitions than wanted are
// as good, except where one alone is read.
func (t Topic) compareShape(have sarama.TopicDetail) (changes []Change) {
	if int(have.NumPartitions) < t.Partitions {
		changes = append(changes, Change{Topic: t.Name, What: "partitions", Have: strconv.Itoa(int(have.NumPartitions)),
			Want: strconv.Itoa(t.Partitions), wanted: t})
	}
	if int(have.NumPartitions) > t.Partitions && t.Partitions == 1 {
		changes = append(changes, Change{Topic: t.Name, What: "partitions", Have: strconv.Itoa(int(have.NumPartitions)),
			Want: "1", Problem: "Kafka cannot remove partitions; delete the topic", wanted: t})
	}
	if int(have.ReplicationFactor) < t.Replication {
		changes = append(changes, Change{Topic: t.Name, What: "replication", Have: strconv.Itoa(int(have.ReplicationFactor)),
			Want: strconv.Itoa(t.Replication), Problem: "use kafka-reassign-partitions", wanted: t})
	}
	return changes
}

func (t Topic) compareSettings(have map[string]string) (changes []Change) {
	for name, want := range t.Settings {
		if have[name] != want {
			changes = append(changes, Change{Topic: t.Name, What: name, Have: have[name], Want: want, wanted: t})
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.What, b.What) })
	return changes
}

func (k *Kafka) settings(topic string) (map[string]string, error) {
	results, err := k.admin.DescribeConfigs([]*sarama.ConfigResource{{Type: sarama.TopicResource, Name: topic}},
		sarama.DescribeConfigsOptions{})
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", topic, err)
	}
	out := map[string]string{}
	for _, r := range results {
		for _, e := range r.Configs {
			out[e.Name] = e.Value
		}
	}
	return out, nil
}

// ApplyTopics makes the changes of PlanTopics or PlanAccess. It goes on after a failure and
// returns all of them; a change with a Problem is a failure.
func (k *Kafka) ApplyTopics(ctx context.Context, changes []Change) error {
	var errs []error
	for _, c := range changes {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		if err := k.apply(c); err != nil {
			errs = append(errs, fmt.Errorf("topic %s, %s: %w", c.Topic, c.What, err))
		}
	}
	return errors.Join(append(errs, k.awaitTopics(ctx, changes))...)
}

func (k *Kafka) apply(c Change) error {
	switch {
	case c.Problem != "":
		return errors.New(c.Problem)
	case c.grant != nil:
		return k.allow(*c.grant)
	case c.What == "topic":
		entries := map[string]*string{}
		for name, value := range c.wanted.Settings {
			entries[name] = &value
		}
		err := k.admin.CreateTopic(c.Topic, &sarama.TopicDetail{NumPartitions: int32(c.wanted.Partitions),
			ReplicationFactor: int16(c.wanted.Replication), ConfigEntries: entries}, false)
		if errors.Is(err, sarama.ErrTopicAlreadyExists) { // somebody else was faster; the next plan says what differs
			return nil
		}
		return err
	case c.What == "partitions":
		return k.admin.CreatePartitions(c.Topic, int32(c.wanted.Partitions), nil, false)
	}
	value := c.Want
	return k.admin.IncrementalAlterConfig(sarama.TopicResource, c.Topic, map[string]sarama.IncrementalAlterConfigsEntry{
		c.What: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false)
}

// awaitTopics waits until the brokers know new topics: right after creation
// they may still deny them.
func (k *Kafka) awaitTopics(ctx context.Context, changes []Change) error {
	ctx, cancel := k.bounded(ctx)
	defer cancel()
	for _, c := range changes {
		if c.What != "topic" && c.What != "partitions" || c.Problem != "" {
			continue
		}
		for {
			err := k.client.RefreshMetadata(c.Topic)
			if err == nil {
				if n, e := k.Partitions(c.Topic); e == nil && n >= c.wanted.Partitions {
					break
				}
			}
			if ctx.Err() != nil {
				return fmt.Errorf("topic %s does not appear: %w", c.Topic, errors.Join(ctx.Err(), err))
			}
			pause(ctx, 50*time.Millisecond)
		}
	}
	return nil
}

// EnsureTopics plans and applies in one, for the demo and for tests.
func (k *Kafka) EnsureTopics(ctx context.Context, l Layout) error {
	wanted, err := Topics(l)
	if err != nil {
		return err
	}
	changes, err := k.PlanTopics(ctx, wanted)
	if err != nil {
		return err
	}
	return k.ApplyTopics(ctx, changes)
}
