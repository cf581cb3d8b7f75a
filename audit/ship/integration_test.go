//go:build integration

package ship

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/jackc/pgx/v5"

	"yizheng/audit"
)

// env is what deploy/dev/with-services says. Without it this tier could not run,
// which is a failure and not a skip.
func env(t testing.TB, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run this tier with `make test`", name)
	}
	return v
}

// TestRsyslogTakesEverything: rsyslog, not our code, reads the messages and writes
// down what it understood of each.
func TestRsyslogTakesEverything(t *testing.T) {
	program, err := exec.LookPath("rsyslogd")
	if err != nil {
		if program = "/usr/sbin/rsyslogd"; exec.Command(program, "-v").Run() != nil {
			t.Fatal("rsyslogd is missing: make setup")
		}
	}
	own, files := certificate(t)
	dir := t.TempDir()
	keyDER, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: own.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(in(name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	conf := fmt.Sprintf(`global(workDirectory=%q DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile=%q
  DefaultNetstreamDriverCertFile=%q DefaultNetstreamDriverKeyFile=%q maxMessageSize="128k")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
template(name="understood" type="string" string="%%syslogfacility-text%%|%%syslogseverity%%|%%hostname%%|%%app-name%%|%%msgid%%|%%structured-data%%|%%msg%%\n")
input(type="imtcp" port="%d" address="127.0.0.1" ruleset="in")
ruleset(name="in") { action(type="omfile" file=%q template="understood") }
`, dir, files.CA, in("cert.pem"), in("key.pem"), port, in("out"))
	if err := os.WriteFile(in("rsyslog.conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "-n", "-f", in("rsyslog.conf"), "-i", in("pid"))
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(said.String())
		}
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	eventually(t, "rsyslog listens", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	sink, err := NewSyslog(address, files)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 1500)
	running(t, newShipper(t, t.TempDir(), sink, func(c *Config) { c.Back = SyslogBack }), sh)
	var lines []string
	eventually(t, "rsyslog has written everything", func() bool {
		text, err := os.ReadFile(in("out"))
		lines = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		return err == nil && len(lines) >= int(sh.Log.Head().Size)
	})
	for i, line := range lines {
		part := strings.SplitN(line, "|", 7)
		if len(part) != 7 || part[0] != "audit" || part[1] != "6" || part[2] != "gw1.example.gov.cn" || part[3] != "yizheng-audit" ||
			!strings.Contains(part[5], fmt.Sprintf(`index="%d"`, i)) {
			t.Fatalf("understood %q", line)
		}
		var r struct {
			Index uint64
			Open  struct{ Op string }
		}
		text := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(part[6]), "\ufeff"))
		if err := json.Unmarshal([]byte(text), &r); err != nil || r.Index != uint64(i) || r.Open.Op != part[4] {
			t.Fatalf("record %d: %v in %q", i, err, line)
		}
	}
}

func TestApacheKafkaTakesEverythingInOrder(t *testing.T) {
	brokers, dir := strings.Split(env(t, "YIZHENG_TEST_KAFKA_BROKERS"), ","), env(t, "YIZHENG_TEST_KAFKA_TLS")
	files := Files{CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	sink, err := NewKafka(brokers, "yizheng.audit.copy", files)
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 1200)
	s := newShipper(t, t.TempDir(), sink, nil)
	running(t, s, sh)
	eventually(t, "a topic that is not there is an error", func() bool { return s.Status().Error != "" })
	admin, err := sarama.NewClusterAdmin(brokers, sink.config)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if err := admin.CreateTopic("yizheng.audit.copy", &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 1}, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are taken", func() bool { return s.Status().Next == sh.Log.Head().Size })
	consumer, err := sarama.NewConsumer(brokers, sink.config)
	if err != nil {
		t.Fatal(err)
	}
	defer consumer.Close()
	var next uint64 // of the entries; a batch that was sent again may stand twice
	for p := range int32(3) {
		part, err := consumer.ConsumePartition("yizheng.audit.copy", p, sarama.OffsetOldest)
		if err != nil {
			t.Fatal(err)
		}
		for n := part.HighWaterMarkOffset(); n > 0; n-- {
			m := <-part.Messages()
			var r struct{ Index uint64 }
			if err := json.Unmarshal(m.Value, &r); err != nil || string(m.Key) != sh.Origin {
				t.Fatalf("key %q, %v", m.Key, err)
			}
			if r.Index > next {
				t.Fatalf("after entry %d stands %d", next, r.Index)
			}
			next = max(next, r.Index+1)
		}
		part.Close()
	}
	if next != sh.Log.Head().Size {
		t.Errorf("%d entries of %d", next, sh.Log.Head().Size)
	}
}

func TestPostgreSQLTakesEverythingOnceWithFewRights(t *testing.T) {
	dsn := env(t, "YIZHENG_TEST_POSTGRES_DSN")
	owner, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // applying it again changes nothing
		if _, err := owner.Exec(t.Context(), Schema); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		ctx := context.Background() // the test's has ended
		defer owner.Close(ctx)
		if _, err := owner.Exec(ctx, `DROP SCHEMA yizheng_audit CASCADE; DROP ROLE IF EXISTS shipper`); err != nil {
			t.Error(err)
		}
	})
	if _, err := owner.Exec(t.Context(), `CREATE ROLE shipper LOGIN PASSWORD 'only-for-tests';
		GRANT USAGE ON SCHEMA yizheng_audit TO shipper; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA yizheng_audit TO shipper;
		GRANT EXECUTE ON FUNCTION yizheng_audit.month(date) TO shipper`); err != nil {
		t.Fatal(err)
	}
	sh := openShard(t, newKey(t), t.TempDir(), "2026q4", 1200)
	sink, err := NewPostgreSQL(dsn)
	if err != nil {
		t.Fatal(err)
	}
	sink.config.User, sink.config.Password = "shipper", "only-for-tests"
	defer sink.Close()
	for range 2 { // the second time from the beginning again
		s := newShipper(t, t.TempDir(), sink, nil)
		stop := running(t, s, sh)
		eventually(t, "all are taken", func() bool { return s.Status().Next == sh.Log.Head().Size })
		_ = stop()
	}
	rows, err := owner.Query(t.Context(), `SELECT e.idx, e.leaf, e.open, e.closed, e.salt, e.ts = to_timestamp((e.open::json->>'ts')::bigint / 1000000.0), count(s.subject)
		FROM yizheng_audit.entries e LEFT JOIN yizheng_audit.subjects s USING (origin, idx, ts) GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := uint64(0)
	for ; rows.Next(); n++ {
		var idx, subjects uint64
		var leaf, salt []byte
		var open, closed string
		var same bool
		if err := rows.Scan(&idx, &leaf, &open, &closed, &salt, &same, &subjects); err != nil {
			t.Fatal(err)
		}
		if idx != n || audit.LeafHash([]byte(open), []byte(closed), [audit.SaltSize]byte(salt)) != audit.Hash(leaf) {
			t.Fatalf("row %d is not the log's", idx)
		}
		if query := strings.Contains(open, `"op":"query"`); query != (subjects == 1) {
			t.Errorf("row %d: %d subjects", idx, subjects)
		}
	}
	if err := rows.Err(); err != nil || n != sh.Log.Head().Size {
		t.Errorf("%d rows, %v", n, err)
	}
	if _, err := sink.conn.Exec(t.Context(), `DELETE FROM yizheng_audit.entries`); err == nil {
		t.Error("the role that ships can delete")
	}
}
