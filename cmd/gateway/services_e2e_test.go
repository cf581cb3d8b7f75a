//go:build e2e

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"

	"yizheng/cmd/gateway/demo"
	"yizheng/exchange/ferry"
)

// realServices are the Apache Kafka, PostgreSQL and Redis that
// deploy/dev/with-services has started, the latter two through wires that can
// be cut. Without them this tier could not run, which is a failure and not a skip.
type realServices struct {
	demo.Services
	dsn, address      string // of PostgreSQL and Redis, past the wires
	postgres, redis   *wire
	kafkaLogs, pgData string
	kafkaPID          string
}

func startServices(t *testing.T) *realServices {
	t.Helper()
	get := func(name string) string {
		v := os.Getenv("YIZHENG_TEST_" + name)
		if v == "" {
			t.Fatalf("YIZHENG_TEST_%s is not set: run this tier with `make test`, or through deploy/dev/with-services", name)
		}
		return v
	}
	tls := get("KAFKA_TLS")
	s := &realServices{dsn: get("POSTGRES_DSN"), address: get("REDIS_ADDR"), kafkaLogs: get("KAFKA_LOGS"), pgData: get("POSTGRES_DATA"), kafkaPID: get("KAFKA_PID")}
	u, err := url.Parse(s.dsn)
	if err != nil {
		t.Fatal("the connection string is no URL")
	}
	s.postgres, s.redis = lay(t, u.Host), lay(t, s.address)
	u.Host = s.postgres.addr()
	s.Services = demo.Services{Brokers: strings.Split(get("KAFKA_BROKERS"), ","), CA: filepath.Join(tls, "ca.pem"), CAKey: filepath.Join(tls, "ca.key"),
		Certificate: filepath.Join(tls, "cert.pem"), Key: filepath.Join(tls, "key.pem"), PostgreSQL: u.String(), Redis: "redis://" + s.redis.addr()}
	return s
}

// TestRealServices is TestExpectations on the services of a real city, with
// access rights that allow each front and the gateway no more than they need.
// What those services keep is searched for the people, and each is lost for a
// while.
func TestRealServices(t *testing.T) {
	services := startServices(t)
	city, home := startCityOf(t, demoConfigs, &services.Services)
	all := places{cityFiles(home), spoolFiles(city), frontFiles(city), services.kafkaPlace(t), services.postgresPlace(t), services.redisPlace(t)}
	clerk, err := city.Login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	results := meetExpectations(t, city, home, clerk)
	t.Run("nothing of the people is anywhere while running", func(t *testing.T) { all.clean(t) })
	t.Run("outages", func(t *testing.T) { outages(t, city, clerk, services) })
	if err := city.Stop(); err != nil {
		t.Fatal(err)
	}
	t.Run("nothing of the people is left", func(t *testing.T) { all.clean(t) })
	t.Run("what is planted is found", func(t *testing.T) { all.findPlanted(t) })
	t.Run("the log is whole", func(t *testing.T) { auditedAll(t, city, results) })
}

// kafkaPlace is all that the broker writes: records, indexes, its own log.
func (s *realServices) kafkaPlace(t *testing.T) place {
	return place{name: "Kafka's topics", at: "kafka/" + ferry.TopicDeadLetter, look: func(into *hunt) error {
		if records, _ := filepath.Glob(filepath.Join(s.kafkaLogs, "xg.re[qp].*", "*.log")); len(records) < 4 {
			return fmt.Errorf("%d files of records in %s: this is not where the broker keeps them", len(records), s.kafkaLogs)
		}
		return into.treeNamed("kafka/", s.kafkaLogs)
	}, plant: func(text string) (func() error, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		bus, err := ferry.OpenKafka(ctx, ferry.KafkaConfig{Brokers: s.Brokers, ClientID: "planter", TLS: ferry.Files{CA: s.CA, Certificate: s.Certificate, Key: s.Key}})
		if err != nil {
			return nil, err
		}
		return bus.Close, bus.Publish(ctx, ferry.Message{Topic: ferry.TopicDeadLetter, Headers: map[string]string{}, Body: []byte(text)})
	}}
}

// postgresPlace is a dump of the whole database, and the server's files.
func (s *realServices) postgresPlace(t *testing.T) place {
	dump := func(into *hunt) error {
		cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("YIZHENG_TEST_POSTGRES_BIN"), "pg_dump"), "--dbname="+s.dsn)
		out, err := cmd.Output()
		if err != nil {
			return err
		}
		if !strings.Contains(string(out), "COPY public.") {
			return errors.New("the dump holds no table: the gateway writes elsewhere")
		}
		into.look("postgresql dump", out)
		return into.treeNamed("postgresql/", s.pgData)
	}
	return place{name: "PostgreSQL", at: "postgresql dump", look: dump, plant: func(text string) (func() error, error) {
		db, err := sql.Open("pgx", s.dsn)
		if err != nil {
			return nil, err
		}
		undo := func() error {
			_, err := db.Exec("DROP TABLE planted")
			return errors.Join(err, db.Close())
		}
		_, err = db.Exec("CREATE TABLE planted (v BYTEA)")
		if err == nil {
			_, err = db.Exec("INSERT INTO planted VALUES ($1)", []byte(text))
		}
		return undo, err
	}}
}

// redisPlace is every key with its value, of whatever type.
func (s *realServices) redisPlace(t *testing.T) place {
	client := redis.NewClient(&redis.Options{Addr: s.address})
	t.Cleanup(func() { _ = client.Close() })
	return place{name: "Redis", at: "redis planted", look: func(into *hunt) error {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		keys := client.Scan(ctx, 0, "", 1000).Iterator()
		n := 0
		for keys.Next(ctx) {
			n++
			// Redis's own form of a value holds it as it is, unless it is long and compresses well.
			value, err := valueOf(ctx, client, keys.Val())
			if err != nil {
				return err
			}
			into.look("redis "+keys.Val(), []byte(keys.Val()+"\n"+value))
		}
		if n == 0 {
			return errors.New("there is no key: the gateway does not use it")
		}
		return keys.Err()
	}, plant: func(text string) (func() error, error) {
		ctx := t.Context()
		return func() error { return client.Del(context.WithoutCancel(ctx), "planted").Err() }, client.HSet(ctx, "planted", "v", text).Err()
	}}
}

// valueOf is a value of any type as text.
func valueOf(ctx context.Context, client *redis.Client, key string) (string, error) {
	kind, err := client.Type(ctx, key).Result()
	if err != nil {
		return "", err
	}
	read := map[string][]any{"string": {"GET", key}, "hash": {"HGETALL", key}, "set": {"SMEMBERS", key}, "list": {"LRANGE", key, 0, -1},
		"zset": {"ZRANGE", key, 0, -1, "WITHSCORES"}, "stream": {"XRANGE", key, "-", "+"}, "none": {"ECHO", ""}}[kind]
	if read == nil {
		return "", fmt.Errorf("a key of type %s, which this test cannot read", kind)
	}
	v, err := client.Do(ctx, read...).Result()
	if errors.Is(err, redis.Nil) { // gone since
		err = nil
	}
	return fmt.Sprint(v), err
}
