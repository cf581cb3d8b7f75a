package index

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"yizheng/audit"
	"yizheng/audit/audittest"
)

// generated makes entries of a city's shape: one resident in three comes back,
// two entries in three are about one.
func generated(from uint64, n int) []audit.Stored {
	list := entries(from, n)
	for i := range list {
		at := from + uint64(i)
		o := &list[i].Entry.Open
		o.Case, o.Exchange, o.Subjects = "case-"+strconv.FormatUint(at/8, 10), "x-"+strconv.FormatUint(at/12, 10), nil
		if at%3 != 0 {
			o.Subjects = []audit.SubjectRef{resident(at / 12)}
		}
	}
	return list
}

func resident(n uint64) audit.SubjectRef {
	var p [16]byte
	binary.BigEndian.PutUint64(p[:], rand.New(rand.NewPCG(n%3_000_000, 1)).Uint64())
	return audit.SubjectRef{Type: "idno", Epoch: "2026q4", P: base64.StdEncoding.EncodeToString(p[:])}
}

// BenchmarkIndex indexes generated entries as they come, two full files and a
// little more, and merges the two.
func BenchmarkIndex(b *testing.B) {
	const size, limit = 520_000, 10_000
	x, err := Open(b.Context(), Config{Dir: b.TempDir(), Merge: 2})
	if err != nil {
		b.Fatal(err)
	}
	var took, worked time.Duration
	for x.Next() < size {
		list := generated(x.Next(), batch)
		t, w := time.Now(), processorTime(b)
		if err := x.Add(b.Context(), list); err != nil {
			b.Fatal(err)
		}
		if _, err := x.merge(b.Context()); err != nil {
			b.Fatal(err)
		}
		took, worked = took+time.Since(t), worked+processorTime(b)-w
	}
	rate := float64(size) / took.Seconds()
	b.ReportMetric(rate, "indexed/s")
	b.ReportMetric(float64(worked.Microseconds())/size, "cpu-µs/entry") // does not depend on who else works
	b.ReportMetric(limit, "limit-indexed/s")
	b.ReportMetric(limit/rate, "x-limit")
	if err := x.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkLag follows a log that grows by 10,000 entries a second, in steps of
// 100 as concurrent writers make them, for some seconds: how old the oldest
// entry was that could not be found yet, looked at every 5 ms.
func BenchmarkLag(b *testing.B) {
	const rate, step, limit = 10_000, 100, 2000
	entriesOf := generated(0, 100*step)
	l, err := audit.OpenLog(b.Context(), audit.Config{AppendTimeout: audittest.Patience, Dir: b.TempDir(), Origin: "gw1.example.gov.cn/audit/2026q4", Signer: newKey(b), MinFree: 1})
	if err != nil {
		b.Fatal(err)
	}
	s := NewShards(ShardsConfig{Dir: b.TempDir()})
	s.Add(l)
	type grown struct {
		size uint64
		at   time.Time
	}
	var durable []grown
	var lags []time.Duration
	look := func() bool { // whether all is indexed
		indexed := s.State()[0].Indexed
		for len(durable) > 0 && durable[0].size <= indexed {
			durable = durable[1:]
		}
		if len(durable) > 0 {
			lags = append(lags, time.Since(durable[0].at))
		}
		return len(durable) == 0
	}
	for size := l.Head().Size; s.State()[0].Indexed < size; time.Sleep(time.Millisecond) {
	}
	began, worked := time.Now(), processorTime(b)
	const seconds = 8
	for n := range seconds * rate / step {
		for due := began.Add(time.Duration(n) * time.Second * step / rate); time.Now().Before(due); {
			look()
			time.Sleep(min(5*time.Millisecond, time.Until(due)))
		}
		var list []audit.Entry
		for _, e := range entriesOf[n%100*step:][:step] {
			list = append(list, e.Entry)
		}
		if _, err := l.Append(b.Context(), list...); err != nil {
			b.Fatal(err)
		}
		durable = append(durable, grown{l.Head().Size, time.Now()})
	}
	appended := float64(seconds*rate) / time.Since(began).Seconds()
	for !look() {
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(began)
	slices.Sort(lags)
	most := float64(lags[len(lags)-1].Milliseconds())
	b.ReportMetric(appended, "appended/s")
	b.ReportMetric(seconds*rate/took.Seconds(), "indexed/s")
	b.ReportMetric(float64((processorTime(b)-worked).Microseconds())/(seconds*rate), "cpu-µs/entry") // appended, read again and indexed
	b.ReportMetric(float64(lags[len(lags)*99/100].Milliseconds()), "lag-p99-ms")
	b.ReportMetric(most, "lag-max-ms")
	b.ReportMetric(limit, "limit-lag-max-ms")
	b.ReportMetric(most/limit, "x-limit")
	if err := errors.Join(s.Close(), l.Close()); err != nil {
		b.Fatal(err)
	}
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkSearch looks for residents among YIZHENG_INDEX_ENTRIES (default
// 500,000; what is promised is promised for 10,000,000) generated entries. Ten
// million take 1 GB in the directory of temporary files:
//
//	YIZHENG_INDEX_ENTRIES=10000000 go test -run '^$' -bench 'Search$' -benchtime 1x -timeout 30m ./audit/index
func BenchmarkSearch(b *testing.B) {
	size := uint64(500_000)
	if s := os.Getenv("YIZHENG_INDEX_ENTRIES"); s != "" {
		var err error
		if size, err = strconv.ParseUint(s, 10, 64); err != nil {
			b.Fatal(err)
		}
	}
	searchAmong(b, size, 20)
}

// searchAmong searches an index of so many entries: each search with all files
// dropped from the page cache and opened afresh (cold), and again (warm). Half
// of the cold ones may take longer than limit, in milliseconds.
func searchAmong(b *testing.B, size uint64, limit float64) {
	dir := b.TempDir()
	began := time.Now()
	if err := bulk(b.Context(), Config{Dir: dir}, size); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(size), "entries")
	b.ReportMetric(float64(size)/time.Since(began).Seconds(), "built/s")
	b.ReportMetric(float64(bytes(b, dir))/float64(size), "B/entry")
	var cold, warm []time.Duration
	for n := range uint64(40) {
		forget(b, dir)
		x, err := Open(b.Context(), Config{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		if x.Next() != size {
			b.Fatalf("%d entries of %d", x.Next(), size)
		}
		forget(b, dir)
		q := Query{Subjects: []audit.SubjectRef{resident(n * 7919 % (size / 12))}}
		for _, times := range []*[]time.Duration{&cold, &warm} {
			t := time.Now()
			f, err := x.Search(b.Context(), q)
			if err != nil || len(f.Entries) == 0 {
				b.Fatalf("%v: %v", f, err)
			}
			*times = append(*times, time.Since(t))
		}
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(median(cold), "cold-p50-ms")
	b.ReportMetric(limit, "limit-cold-p50-ms")
	b.ReportMetric(median(cold)/limit, "x-limit")
	b.ReportMetric(median(warm), "warm-p50-ms")
}

func median(d []time.Duration) float64 {
	sorted := slices.Sorted(slices.Values(d))
	return float64(sorted[len(sorted)/2].Microseconds()) / 1000
}

// forget drops the files from the page cache.
func forget(b *testing.B, dir string) {
	files, err := filepath.Glob(filepath.Join(dir, "*.db*"))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		_ = f.Sync()
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

func bytes(b *testing.B, dir string) (n int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		b.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			b.Fatal(err)
		}
		n += info.Size()
	}
	return n
}

// BenchmarkCheck holds a file of 100,000 entries to its log, without rests, and
// to its seal.
func BenchmarkCheck(b *testing.B) {
	const size = 100_000
	l, err := audit.OpenLog(b.Context(), audit.Config{Dir: b.TempDir(), Origin: "gw1.example.gov.cn/audit/2026q4", Signer: newKey(b), MinFree: 1})
	if err != nil {
		b.Fatal(err)
	}
	for l.Head().Size < size {
		var list []audit.Entry
		for _, s := range generated(l.Head().Size, 1000) {
			list = append(list, s.Entry)
		}
		if _, err := l.Append(b.Context(), list...); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	r := l.NewReader(0)
	err = Build(b.Context(), Config{Dir: dir}, func(fn func(audit.Stored) error) error {
		_, err := r.Next(b.Context(), fn)
		return errors.Join(err, r.Close())
	})
	if err != nil {
		b.Fatal(err)
	}
	x, err := Open(b.Context(), Config{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	p := x.live()
	at, held, sealed := newPace(b.Context(), func() int { return 0 }), time.Duration(0), time.Duration(0)
	for b.Loop() {
		began := processorTime(b)
		if what, err := x.hold(b.Context(), p, l, at); err != nil || what != "" {
			b.Fatal(what, err)
		}
		between := processorTime(b)
		if _, err := digest(filepath.Join(dir, liveName), at); err != nil {
			b.Fatal(err)
		}
		held, sealed = held+between-began, sealed+processorTime(b)-between
	}
	n := float64(size * b.N)
	b.ReportMetric(float64(held.Nanoseconds())/1000/n, "held-cpu-µs/entry")
	b.ReportMetric(float64(sealed.Nanoseconds())/1000/n, "sealed-cpu-µs/entry")
	if err := errors.Join(x.Close(), l.Close()); err != nil {
		b.Fatal(err)
	}
}
