package kafkabus_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hexdag/hexdag/host/ports/eventbus"
	"github.com/hexdag/hexdag/host/ports/eventbus/driver"
)

// commits has a look at every commit of a member, and refuses its partitions where look says so.
func commits(c *kfake.Cluster, look func(req *kmsg.OffsetCommitRequest) (refuse bool)) {
	c.ControlKey(kmsg.OffsetCommit.Int16(), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.OffsetCommitRequest)
		if req.Generation < 0 || !look(req) { // the first position of a group is nobody's
			return nil, nil, false
		}
		answer := req.ResponseKind().(*kmsg.OffsetCommitResponse)
		for _, topic := range req.Topics {
			refused := kmsg.NewOffsetCommitResponseTopic()
			refused.Topic, refused.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				partition := kmsg.NewOffsetCommitResponseTopicPartition()
				partition.Partition, partition.ErrorCode = p.Partition, kerr.UnknownTopicOrPartition.Code
				refused.Partitions = append(refused.Partitions, partition)
			}
			answer.Topics = append(answer.Topics, refused)
		}
		return answer, nil, true
	})
}

func publish(t *testing.T, b *eventbus.Bus, key int) {
	t.Helper()
	if _, err := b.Publish(t.Context(), &eventbus.Event{Topic: "t", Tenant: "acme", Key: strconv.Itoa(key), Data: []byte("1")}); err != nil {
		t.Fatal(err)
	}
}

func join(t *testing.T, b *eventbus.Bus, handled func(e *eventbus.Event)) *eventbus.Subscription {
	t.Helper()
	s, err := b.Subscribe(t.Context(), "acme", []string{"t"}, func(_ context.Context, d *eventbus.Delivery) error {
		handled(d.Event)
		return nil
	}, eventbus.SubscribeOptions{Group: "g", Concurrency: 8})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen: ", what)
		}
	}
}

// Kafka accepts a commit and refuses one of its partitions: that one is committed again.
func TestRefusedPartition(t *testing.T) {
	c := fake(t)
	b := eventbus.New(opener(c.ListenAddrs()...)(t), eventbus.Options{})
	defer b.Close()
	var asked atomic.Int32
	commits(c, func(*kmsg.OffsetCommitRequest) bool { return asked.Add(1) <= 3 })
	var first atomic.Int32
	s := join(t, b, func(*eventbus.Event) { first.Add(1) })
	publish(t, b, 1)
	wait(t, "a commit after three that were refused", func() bool { return first.Load() == 1 && asked.Load() >= 4 })
	if err := b.Unsubscribe(t.Context(), s.ID); err != nil {
		t.Fatal(err)
	}
	var again atomic.Int32
	join(t, b, func(*eventbus.Event) { again.Add(1) })
	publish(t, b, 2)
	wait(t, "the second event", func() bool { return again.Load() >= 1 })
	time.Sleep(300 * time.Millisecond)
	if n := again.Load(); n != 1 {
		t.Errorf("%d deliveries: what was handled came again", n)
	}
}

// What a member could not commit of a partition it commits no more when the partition is another's.
func TestRevokedPartition(t *testing.T) {
	c := fake(t)
	b := eventbus.New(opener(c.ListenAddrs()...)(t), eventbus.Options{})
	defer b.Close()
	var mu sync.Mutex
	var member string // the first
	refusing := true
	var late []int32 // what the first commits at the end
	commits(c, func(req *kmsg.OffsetCommitRequest) bool {
		mu.Lock()
		defer mu.Unlock()
		if member == "" {
			member = req.MemberID
		}
		if req.MemberID == member && !refusing {
			for _, p := range req.Topics[0].Partitions {
				late = append(late, p.Partition)
			}
		}
		return req.MemberID == member && refusing
	})
	var first atomic.Int32
	join(t, b, func(*eventbus.Event) { first.Add(1) })
	const keys = 64 // on all partitions
	for key := range keys {
		publish(t, b, key)
	}
	wait(t, "all are handled", func() bool { return first.Load() == keys })
	var others []int32
	join(t, b, func(e *eventbus.Event) { // again, for they were not committed
		mu.Lock()
		defer mu.Unlock()
		others = append(others, int32(driver.Partition(e, 8)))
	})
	wait(t, "the second member has partitions", func() bool { mu.Lock(); defer mu.Unlock(); return len(others) > 0 })
	time.Sleep(2 * time.Second) // until all that move have moved
	mu.Lock()
	refusing = false
	mu.Unlock()
	wait(t, "the first member's commit", func() bool { mu.Lock(); defer mu.Unlock(); return len(late) > 0 })
	time.Sleep(300 * time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	for _, p := range late {
		if slices.Contains(others, p) {
			t.Errorf("partition %d was committed by a member that has it no more", p)
		}
	}
}
