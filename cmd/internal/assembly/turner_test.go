package assembly

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/auditor"
)

func (n *node) turner(l *audit.Log) *Turner {
	return &Turner{Dir: n.dir, Origin: testOrigin, Config: n.config(), Log: l, Logger: slog.New(slog.DiscardHandler)}
}

func TestTurner_BeginsTheQuarterByChinaTime(t *testing.T) {
	n := newNode(t)
	l, err := n.open(autumn)
	n.must(err)
	tu := n.turner(l)
	var told []string
	tu.Turned = append(tu.Turned, func(l *audit.Log) { told = append(told, l.Origin()) })
	ctx := context.Background()
	newYear := time.Date(2026, 12, 31, 16, 0, 0, 0, time.UTC)
	tu.look(ctx, newYear.Add(-2*time.Second), newYear.Add(-time.Second), time.Second)
	n.issue(l, "A")
	if len(told) != 0 {
		t.Fatalf("turned before midnight: %v", told)
	}
	tu.look(ctx, newYear.Add(-time.Second), newYear, time.Second)
	tu.look(ctx, newYear, newYear.Add(time.Second), time.Second)
	n.issue(l, "B")
	spring := newYear.AddDate(0, 3, 0)
	tu.look(ctx, spring.Add(-time.Second), spring, time.Second)
	n.issue(l, "C")
	if len(told) != 2 || told[0] != testOrigin+"/2027q1" || told[1] != testOrigin+"/2027q2" {
		t.Fatalf("turned to %v", told)
	}
	n.must(l.Close())
	if good, said := n.verify(auditor.Options{}); !good {
		t.Error(said)
	}
	for quarter, number := range map[string]string{"2026q4": "A", "2027q1": "B", "2027q2": "C"} {
		var found []string
		n.must(audit.Each(n.in(quarter), func(s audit.Stored) error {
			if s.Entry.Open.Op == audit.OpIssue {
				found = append(found, s.Entry.Open.Number)
			}
			return nil
		}, n.key.Public()))
		if len(found) != 1 || found[0] != number {
			t.Errorf("%s holds %v", quarter, found)
		}
	}
}

// A clock set into the next quarter must run there for an hour: what it has
// sealed stays sealed.
func TestTurner_DoubtsAClockThatWasSet(t *testing.T) {
	n := newNode(t)
	l, err := n.open(autumn)
	n.must(err)
	defer l.Close()
	tu := n.turner(l)
	ctx := context.Background()
	tu.look(ctx, autumn, winter, time.Second)
	tu.look(ctx, winter, winter.Add(30*time.Minute), 30*time.Minute)
	if l.Next() != nil {
		t.Fatal("the clock was believed at once")
	}
	tu.look(ctx, winter.Add(30*time.Minute), autumn.Add(30*time.Minute), time.Second) // put right
	tu.look(ctx, autumn.Add(time.Hour), winter.Add(time.Hour), time.Second)           // and again
	tu.look(ctx, winter, winter.Add(59*time.Minute), 59*time.Minute)
	if l.Next() != nil {
		t.Fatal("the clock was believed too soon")
	}
	tu.look(ctx, winter, winter.Add(time.Minute), time.Minute)
	if l.Next() == nil {
		t.Fatal("the clock was never believed")
	}
}

// After a turn that ended half way the next start goes on, as ever.
func TestTurner_FailureIsMadeGoodByTheNextStart(t *testing.T) {
	n := newNode(t)
	l, err := n.open(autumn)
	n.must(err)
	n.issue(l, "A")
	tu := n.turner(l)
	tu.Config.SegmentSize = 17 // opening the next shard fails
	tu.look(context.Background(), winter, winter.Add(time.Second), time.Second)
	select {
	case <-l.Failed():
	default:
		t.Fatal("log goes on without a shard")
	}
	_ = l.Close()
	n.run(winter, "B")
	if good, said := n.verify(auditor.Options{}); !good {
		t.Error(said)
	}
}
