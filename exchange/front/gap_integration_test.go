//go:build integration

package front

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/exchange"
	"yizheng/exchange/ferry"
	"yizheng/exchange/ferry/relay"
	"yizheng/exchange/ferry/spool"
	"yizheng/identity/jose"
)

// bothEnds opens a gap's two spools, with the simulated device, a program of
// its own, between them.
func (l *line) bothEnds(device ...string) (cloud, inner *spool.Link) {
	l.t.Helper()
	ok := func(err error) {
		l.t.Helper()
		if err != nil {
			l.t.Fatal(err)
		}
	}
	dirs, channels := []string{l.t.TempDir(), l.t.TempDir()}, []string{"CITY_HR", "HR_CITY"}
	program := filepath.Join(l.t.TempDir(), "gapdevice")
	ok(exec.Command("go", "build", "-o", program, "yizheng/deploy/simulators/gapdevice").Run())
	var links []*spool.Link
	relays := []*jose.Key{own["owner"], own["stranger"]} // keys of neither gateway nor front
	for i := range dirs {
		link, err := spool.Open(spool.Config{Dir: dirs[i], Out: channels[i], In: channels[1-i], Key: relays[i], Device: spool.Device{Atomic: true},
			PeerKey: func(kid string) *ecdsa.PublicKey {
				if kid == relays[1-i].ID() {
					return relays[1-i].Public()
				}
				return nil
			},
			AckEvery: 20 * time.Millisecond, GapAfter: 150 * time.Millisecond, ResendAfter: 500 * time.Millisecond, BeatEvery: 250 * time.Millisecond})
		ok(err)
		l.run(link.Run)
		links = append(links, link)
	}
	cmd := exec.Command(program, append([]string{"-a", dirs[0], "-b", dirs[1]}, device...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	ok(err)
	ok(cmd.Start())
	l.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			l.t.Errorf("gapdevice: %v", err)
		}
	})
	if !bufio.NewScanner(out).Scan() {
		l.t.Fatal("the device did not start")
	}
	return links[0], links[1]
}

// A question with a real card read behind it crosses a gap that loses and
// repeats files, and its signed answer comes back; the relay between them holds
// no key of either.
func TestQuestionTravelsThroughAGapAndBack(t *testing.T) {
	l, d := newLine(t), newDesk(t)
	cloud, inner := l.bothEnds("-drop", "30", "-duplicate", "20", "-seed", "5")
	r, err := relay.New(relay.Config{Bus: l.bus, Fronts: []string{"hr-front"}, Logger: slog.New(slog.DiscardHandler)})
	d.ok(err)
	refuse := func(_ spool.Message, err error) { t.Errorf("not carried: %v", err) }
	l.run(func(ctx context.Context) error { return spool.Pump(ctx, r, cloud, refuse) })
	l.run(func(ctx context.Context) error { return spool.Pump(ctx, cloud, r, refuse) })
	bus := relay.NewBus(inner, nil, slog.New(slog.DiscardHandler))
	server, err := ferry.NewServer(bus, ferry.ServerConfig{Front: "hr-front", Handle: d.door().Handle, HeartbeatEvery: time.Second, SignEvery: -1,
		Logger: slog.New(slog.DiscardHandler)})
	d.ok(err)
	l.run(bus.Run)
	l.run(server.Run)
	s := l.source()
	const questions = 10
	var wg sync.WaitGroup
	for i := range questions {
		wg.Go(func() {
			ask := asked(cardRead(time.Now()).question(t, "X-gap-"+string(rune('a'+i))))
			ask.Source.Route = catalog.RouteGap
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			got, err := s.Query(ctx, ask)
			if err != nil || got.State != exchange.StateFound || len(got.Records) != 1 || got.Records[0].Fields["status"] != "1" || got.Authenticity != catalog.AuthSignature {
				t.Errorf("question %d: %q, %v", i, got.State, err)
			}
		})
	}
	wg.Wait()
	if n := d.system.times(); n != questions {
		t.Errorf("the department was asked %d times", n)
	}
	if n := l.asker.Counts(); n.Hedged != 0 || n.Late != 0 {
		t.Errorf("the gateway counts %+v", n)
	}
}
