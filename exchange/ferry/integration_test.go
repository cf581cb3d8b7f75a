//go:build integration

package ferry

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// real uses the Apache Kafka that deploy/dev/kafka has started. Without it this
// tier could not run, which is a failure and not a skip.
func real(t testing.TB) *cluster {
	t.Helper()
	brokers, dir := os.Getenv("YIZHENG_TEST_KAFKA_BROKERS"), os.Getenv("YIZHENG_TEST_KAFKA_TLS")
	if brokers == "" || dir == "" {
		t.Fatal("YIZHENG_TEST_KAFKA_BROKERS or YIZHENG_TEST_KAFKA_TLS is not set: run this tier with `make test`")
	}
	return newNames(&cluster{brokers: strings.Split(brokers, ","),
		files: Files{CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}})
}

func TestApacheKafka(t *testing.T) { conform(t, real) }
