//go:build e2e

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/audit/ship"
	"yizheng/cmd/gateway/demo"
	"yizheng/identity/jose"
)

// auditPlaces are those where a running city keeps its log and what is made of it.
func auditPlaces(home string) places {
	return places{
		written(home, "the log's segments", "state/audit/*/wal/*.seg"),
		written(home, "the log's tiles", "state/audit/*/tile/0/000"),
		written(home, "the log's checkpoints", "state/audit/*/checkpoints.log"),
		inIndex(home, "the index's pages", "state/audit-index/*/live.db"),
		written(home, "the witness's state", "state/witness/*.json"),
		written(home, "what the processes say on stderr", "processes.log"),
	}
}

// written is a file that the city has written. What is planted stands in the
// middle of a copy of it, in the same directory.
func written(home, name, files string) place {
	at := path.Join(path.Dir(files), "planted-"+strings.ReplaceAll(path.Base(files), "*", "x"))
	return place{name: name, files: files, at: at, plant: func(text string) (func() error, error) {
		own, copied, err := firstOf(home, files, at)
		if err != nil {
			return nil, err
		}
		b, err := os.ReadFile(own)
		if err != nil {
			return nil, err
		}
		half := len(b) / 2
		return func() error { return os.Remove(copied) }, os.WriteFile(copied, bytes.Join([][]byte{b[:half], b[half:]}, []byte(text)), 0o600)
	}}
}

// inIndex is an SQLite file of which the copy gets one row more.
func inIndex(home, name, files string) place {
	p := written(home, name, files)
	p.plant = func(text string) (func() error, error) {
		own, copied, err := firstOf(home, files, p.at)
		if err != nil {
			return nil, err
		}
		b, err := os.ReadFile(own)
		if err != nil {
			return nil, err
		}
		undo := func() error {
			for _, suffix := range []string{"-wal", "-shm"} {
				if err := os.Remove(copied + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
					return err
				}
			}
			return os.Remove(copied)
		}
		return undo, errors.Join(os.WriteFile(copied, b, 0o600), plantRow(copied, text))
	}
	return p
}

// firstOf is the first file of a pattern below home, and where its copy goes.
func firstOf(home, files, at string) (own, copied string, err error) {
	list, err := filepath.Glob(filepath.Join(home, files))
	if err == nil && len(list) == 0 {
		err = fmt.Errorf("no file is %s", files)
	}
	if err != nil {
		return "", "", err
	}
	return list[0], filepath.Join(filepath.Dir(list[0]), path.Base(at)), nil
}

// copyLog makes, of a copy of the stopped city's log, what other configurations
// would have made of it: a replica, and records that are shipped, with the closed
// halves, to a collector over HTTPS.
func copyLog(t *testing.T, city *demo.City, home string) places {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	in := func(name string) string { return filepath.Join(home, "copies", name) }
	must(os.MkdirAll(in("ship"), 0o700))
	must(os.Mkdir(in("replica"), 0o700))
	shard := shardOf(t, city)
	must(os.CopyFS(in("log"), os.DirFS(shard)))
	key, err := jose.ReadKey(filepath.Join(city.State, "keys", "audit.key"), "")
	must(err)
	origin, err := audit.ReadOrigin(shard, key.Public())
	must(err)
	replica, err := audit.OpenReplicaDir(audit.ReplicaConfig{Dir: in("replica"), Origin: path.Dir(origin), Keys: []*ecdsa.PublicKey{key.Public()}})
	must(err)
	log, err := audit.OpenLog(t.Context(), audit.Config{Dir: in("log"), Origin: origin, Signer: key, Replica: replica, AppendTimeout: 30 * time.Second})
	must(err)
	shipper := shipTo(t, in("ship"), in("collected"))
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	var shipping sync.WaitGroup
	shipping.Go(func() { _ = shipper.Run(ctx, []ship.Shard{{Origin: origin, Log: log}}) }) // ends with ctx
	size := log.Head().Size
	for shipper.Status().Next < size && ctx.Err() == nil {
		time.Sleep(20 * time.Millisecond)
	}
	stop()
	shipping.Wait()
	must(errors.Join(log.Close(), replica.Close()))
	if s := shipper.Status(); s.Next < size {
		t.Fatalf("shipped %d of %d entries: %s", s.Next, size, s.Error)
	}
	return places{
		written(home, "supervision's state", "state/supervise/state.json"), // written now and then, and at the end
		written(home, "a replica of the log", "copies/replica/*/wal/*.seg"),
		written(home, "what was shipped", "copies/collected"),
		written(home, "how far the shipping is", "copies/ship/*.cursor"),
	}
}

// shipTo ships to a collector that appends all it gets to a file.
func shipTo(t *testing.T, cursors, collected string) *ship.Shipper {
	t.Helper()
	into, err := os.Create(collected)
	if err != nil {
		t.Fatal(err)
	}
	collector := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(into, r.Body); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	t.Cleanup(func() {
		collector.Close()
		if err := into.Close(); err != nil {
			t.Error(err)
		}
	})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: collector.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	sink, err := ship.NewHTTPS(collector.URL, ship.Files{CA: ca})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ship.New(ship.Config{Name: "collector", Dir: cursors, Sink: sink, Closed: true, Every: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
