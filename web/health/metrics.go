package health

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"yizheng/audit"
)

// Metrics are a gateway's figures for a Prometheus server. Every label is a name
// from configuration or catalogue, or one of a fixed set of codes, so that there
// are no more series than the city has departments and the gateway parts.
type Metrics struct {
	registry *prometheus.Registry
	appended prometheus.Histogram
	legs     *prometheus.CounterVec
}

// NewMetrics makes the metrics of the gateway that w looks after.
func NewMetrics(w *Watch) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(),
		appended: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "yizheng_audit_append_seconds", Help: "Time until records were durable.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .015, .025, .05, .1, .25, .5, 1, 2}}),
		legs: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "yizheng_legs_total", Help: "Questions to departments that have ended. Of sensitive proofs the outcome is ANSWERED, whatever it was."},
			[]string{"department", "route", "outcome"})}
	m.registry.MustRegister(m.appended, m.legs, reported{w, gauges()}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Appended counts records that have become durable. It is an audit.Config.Appended.
func (m *Metrics) Appended(took time.Duration) { m.appended.Observe(took.Seconds()) }

// LegEnded counts a leg. It is an exchange.Config.LegEnded.
func (m *Metrics) LegEnded(department, route, outcome string) {
	m.legs.WithLabelValues(department, route, outcome).Inc()
}

// ContentType of Text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Text is all metrics in Prometheus' text format.
func (m *Metrics) Text() ([]byte, error) {
	families, err := m.registry.Gather()
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			return nil, fmt.Errorf("metrics: %w", err)
		}
	}
	return b.Bytes(), nil
}

// reported is the figures of a Report as metrics.
type reported struct {
	watch  *Watch
	gauges []gauge
}

// Describe implements prometheus.Collector.
func (c reported) Describe(to chan<- *prometheus.Desc) {
	for _, g := range c.gauges {
		to <- g.desc
	}
}

// Collect implements prometheus.Collector.
func (c reported) Collect(to chan<- prometheus.Metric) {
	r := c.watch.Report(context.Background())
	for _, g := range c.gauges {
		g.read(r, func(value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, value, labels...)
		})
	}
}

// gauge reads one figure, or one for each of several things.
type gauge struct {
	desc *prometheus.Desc
	read func(r Report, emit func(value float64, labels ...string))
}

func one(name, help string, read func(Report) (value float64, known bool)) gauge {
	return gauge{prometheus.NewDesc("yizheng_"+name, help, nil, nil), func(r Report, emit func(float64, ...string)) {
		if v, known := read(r); known {
			emit(v)
		}
	}}
}

func each(name, help string, labels []string, read func(Report, func(float64, ...string))) gauge {
	return gauge{prometheus.NewDesc("yizheng_"+name, help, labels, nil), read}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func gauges() []gauge {
	index, witness := func(r Report) *Index { return r.Index }, func(r Report) *Witness { return r.Witness }
	return []gauge{
		one("ready", "1 if business is taken.", func(r Report) (float64, bool) { return truth(r.Ready), true }),
		each("findings", "What somebody has to see to, by code and level; see docs/OPERATIONS.md.", []string{"code", "level"}, func(r Report, emit func(float64, ...string)) {
			counts := map[[2]string]float64{}
			for _, f := range r.Findings {
				counts[[2]string{f.Code, string(f.Level)}]++
			}
			for k, n := range counts {
				emit(n, k[0], k[1])
			}
		}),
		one("audit_entries", "Entries of this quarter's log.", func(r Report) (float64, bool) { return float64(r.Log.Size), true }),
		one("audit_failed", "1 if the log is poisoned.", func(r Report) (float64, bool) { return truth(r.Log.Failed), true }),
		one("audit_held", "By how many the log is held, so that no business is taken.", func(r Report) (float64, bool) { return float64(len(r.Log.Held)), true }),
		one("audit_checkpoint_age_seconds", "Age of the last checkpoint.", func(r Report) (float64, bool) { return float64(r.Log.CheckpointSeconds), r.Log.Checkpoint != nil }),
		one("audit_disk_free_bytes", "Free space of the log's file system.", func(r Report) (float64, bool) { return float64(r.Log.Free), r.Log.Free >= 0 }),
		one("audit_disk_low_water_bytes", "Free space below which no business is taken.", func(r Report) (float64, bool) { return float64(r.Log.LowWater), true }),
		of("audit_replica_behind_entries", "Entries that the replica lacks.", func(r Report) *audit.ReplicaStatus { return r.Log.Replica }, func(x *audit.ReplicaStatus) float64 { return float64(x.Behind) }),
		of("audit_index_lag_entries", "Entries that searches do not find yet.", index, func(x *Index) float64 { return float64(x.Entries) }),
		of("audit_index_lag_seconds", "Age of the oldest entry that searches do not find yet.", index, func(x *Index) float64 { return float64(x.Seconds) }),
		of("audit_index_lost", "Quarters that cannot be searched.", index, func(x *Index) float64 { return float64(len(x.Lost)) }),
		of("audit_index_opening", "Quarters that are still being opened.", index, func(x *Index) float64 { return float64(x.Opening) }),
		of("audit_unwitnessed_entries", "Entries that are not under a witnessed checkpoint.", witness, func(w *Witness) float64 { return float64(w.Unwitnessed) }),
		of("audit_unwitnessed_seconds", "How long the oldest of them has been without.", witness, func(w *Witness) float64 { return float64(w.Seconds) }),
		of("audit_max_unwitnessed_seconds", "After how long no business is taken.", witness, func(w *Witness) float64 { return float64(w.MaxSeconds) }),
		of("audit_unstamped_seconds", "How long the oldest entry has been without a time stamp.", func(r Report) *Stamps { return r.Stamps }, func(x *Stamps) float64 { return float64(x.Seconds) }),
		each("audit_copy_behind_entries", "Entries that a copy lacks.", []string{"copy"}, func(r Report, emit func(float64, ...string)) {
			for _, c := range r.Copies {
				emit(float64(c.Behind), copyLabel(c))
			}
		}),
		each("audit_copy_failing", "1 if a copy was not taken when it was sent last.", []string{"copy"}, func(r Report, emit func(float64, ...string)) {
			for _, c := range r.Copies {
				emit(truth(c.Error != ""), copyLabel(c))
			}
		}),
		one("pseudonyms_reachable", "1 if pseudonyms can be computed.", func(r Report) (float64, bool) { return truth(r.Pseudonyms.Reachable), true }),
		one("store_reachable", "1 if the state store answers.", func(r Report) (float64, bool) { return truth(r.Store.Reachable), true }),
		of("timestamp_authority_up", "0 if the authority of documents' time stamps could not be reached.", func(r Report) *Authority { return r.Authority }, func(x *Authority) float64 { return truth(!x.Down) }),
		each("line_up", "1 if a department's system or front processor can be reached, as far as known.", []string{"line"}, func(r Report, emit func(float64, ...string)) {
			for _, l := range r.Lines {
				emit(truth(l.Up), l.Name)
			}
		}),
		one("catalogue_release", "Number of the catalogue's release.", func(r Report) (float64, bool) { return float64(r.Catalogue.Number), true }),
		each("days_left", "Whole days until a certificate, a seal or the catalogue's release ends.", []string{"what", "name"}, func(r Report, emit func(float64, ...string)) {
			seen := map[[2]string]bool{} // of two with one name the sooner counts
			for _, e := range r.Ends {
				if label := [2]string{e.What, e.Name}; !seen[label] {
					seen[label] = true
					emit(float64(e.Days), e.What, e.Name)
				}
			}
		}),
	}
}

// of reads a figure of a part that a gateway may not have.
func of[T any](name, help string, part func(Report) *T, read func(*T) float64) gauge {
	return one(name, help, func(r Report) (float64, bool) {
		p := part(r)
		if p == nil {
			return 0, false
		}
		return read(p), true
	})
}

// copyLabel tells a sink of the log from a subscriber of the same name.
func copyLabel(c Copy) string {
	if c.Events {
		return "events/" + c.Name
	}
	return c.Name
}
