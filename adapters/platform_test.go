package adapters

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yizheng/catalog"
	"yizheng/exchange"
)

const twoPeople = `
province:
  services:
    fund:
      key: zjhm
      not_found: {data: []}
      records:
        - {number: "690102198503120016", answer: {data: [{code: "00", zjhm: "690102198503120016", xm: 李明, je: "1.00"}]}}
        - {number: "690102199011250046", status: 500}
        - {number: "690103199208170062", body: <html>}
`

func fundEntry() catalog.Source {
	return catalog.Source{ID: "fund", Answer: mappingOver(".data"), Query: catalog.Query{Service: "fund", Params: map[string]string{"zjhm": "number"}}}
}

func TestPlatform_SecretsThatExpireMidwayAreRenewed(t *testing.T) {
	p := newPlatform(t, startProvince(t, twoPeople, "-secret-life", "150ms"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for deadline := time.Now().Add(600 * time.Millisecond); time.Now().Before(deadline); {
				if _, err := p.Query(t.Context(), askFor(t, fundEntry(), liMing)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// The gateway's clock may stand behind the platform's: then it believes in a
// secret that the platform calls expired.
func TestPlatform_StaleSecretIsReplacedOnce(t *testing.T) {
	config := startProvince(t, twoPeople, "-secret-life", "200ms")
	var stopped atomic.Int64
	config.Now = func() time.Time {
		if at := stopped.Load(); at != 0 {
			return time.UnixMilli(at)
		}
		return time.Now()
	}
	p := newPlatform(t, config)
	if _, err := p.Query(t.Context(), askFor(t, fundEntry(), liMing)); err != nil {
		t.Fatal(err)
	}
	stopped.Store(time.Now().UnixMilli())
	time.Sleep(250 * time.Millisecond)
	if _, err := p.Query(t.Context(), askFor(t, fundEntry(), liMing)); err != nil {
		t.Errorf("after the secret expired: %v", err)
	}
}

func TestPlatform_RestartOfThePlatformIsSurvived(t *testing.T) {
	first, second := startProvince(t, twoPeople), startProvince(t, twoPeople)
	p := newPlatform(t, first)
	if _, err := p.Query(t.Context(), askFor(t, fundEntry(), liMing)); err != nil {
		t.Fatal(err)
	}
	other := newPlatform(t, second)
	p.config.URL, p.client = other.config.URL, other.client // the same platform, without its memory
	if _, err := p.Query(t.Context(), askFor(t, fundEntry(), liMing)); err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

func TestPlatform_WrongAnswersAreErrors(t *testing.T) {
	p := newPlatform(t, startProvince(t, twoPeople))
	for name, number := range map[string]string{"HTTP 500": wangFang, "HTML": "690103199208170062"} {
		t.Run(name, func(t *testing.T) {
			_, err := p.Query(t.Context(), askFor(t, fundEntry(), number))
			wantKind(t, err, ErrAnswer)
		})
	}
	unknown := fundEntry()
	unknown.ID, unknown.Query.Service = "other", "no-such-service"
	_, err := p.Query(t.Context(), askFor(t, unknown, liMing))
	wantKind(t, err, ErrAnswer)
}

func TestPlatform_WrongKeyAndClockAreErrors(t *testing.T) {
	config := startProvince(t, twoPeople)
	wrongKey, wrongClock := config, config
	wrongKey.AppKeyFile = write(t, t.TempDir(), "key", []byte("another"))
	wrongClock.Now = func() time.Time { return time.Now().Add(-6 * time.Minute) }
	for name, c := range map[string]PlatformConfig{"app key": wrongKey, "clock": wrongClock} {
		t.Run(name, func(t *testing.T) {
			_, err := newPlatform(t, c).Query(t.Context(), askFor(t, fundEntry(), liMing))
			wantKind(t, err, ErrAnswer)
		})
	}
}

func TestPlatform_UntrustedCertificateIsUnreachable(t *testing.T) {
	config := startProvince(t, twoPeople)
	config.CA, _ = serverFiles(t)
	_, err := newPlatform(t, config).Query(t.Context(), askFor(t, fundEntry(), liMing))
	wantKind(t, err, exchange.ErrUnreachable)
}

func TestPlatform_ClientCertificateIsShownAndItsLackIsUnreachable(t *testing.T) {
	cert, key := serverFiles(t)
	config := startProvince(t, twoPeople, "-client-ca", cert)
	_, err := newPlatform(t, config).Query(t.Context(), askFor(t, fundEntry(), liMing))
	wantKind(t, err, exchange.ErrUnreachable)
	config.Certificate, config.Key = cert, key
	if _, err := newPlatform(t, config).Query(t.Context(), askFor(t, fundEntry(), liMing)); err != nil {
		t.Error(err)
	}
}

// fake is a platform whose answers a test writes itself. It always gives a secret.
func fake(t *testing.T, query http.HandlerFunc) PlatformConfig {
	t.Helper()
	cert, key := serverFiles(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			fmt.Fprintf(w, `{"secret":"s","secretEndTime":"%d"}`, time.Now().Add(time.Hour).UnixMilli())
			return
		}
		query(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{serverCertificate(t, cert, key)}}
	server.Config.ErrorLog = nil
	server.StartTLS()
	t.Cleanup(server.Close)
	return PlatformConfig{URL: server.URL, CA: cert, RID: "R1", AppKeyFile: write(t, t.TempDir(), "key", []byte("k")), Prefix: "gjzwfwpt_"}
}

func TestPlatform_RequestIsAsTheProtocolSays(t *testing.T) {
	var body string
	config := fake(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body = string(b)
		h := func(n string) string { return r.Header.Get("gjzwfwpt_" + n) }
		if h("sign") != sign("s", "fund", "R1", h("rtime")) || h("rid") != "R1" || h("sid") != "fund" || r.Method != http.MethodPost {
			t.Errorf("request %s %v", r.Method, r.Header)
		}
		fmt.Fprint(w, `{"data":[]}`)
	})
	src := fundEntry()
	src.Query.Params = map[string]string{"zjhm": "number", "old": "number15", "xm": "name", "cxfw": "=690104 <&>"}
	p := newPlatform(t, config)
	a, err := p.Query(t.Context(), askFor(t, src, liMing))
	if err != nil || a.Authenticity != catalog.AuthChannel {
		t.Fatalf("%v, %v", a.Authenticity, err)
	}
	if want := `{"cxfw":"690104 <&>","old":"690102850312001","xm":"李明","zjhm":"690102198503120016"}`; body != want {
		t.Errorf("body %s", body)
	}
	if _, err := p.Query(t.Context(), askFor(t, src, "69010420000704001X")); err != nil || strings.Contains(body, "old") {
		t.Errorf("born since 2000: %s, %v", body, err)
	}
}

func TestPlatform_BadPeersAreErrors(t *testing.T) {
	for name, test := range map[string]struct {
		mac     bool
		handler http.HandlerFunc
	}{
		"oversized": {false, func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"data":[],"x":"%s"}`, strings.Repeat("x", 2<<20))
		}},
		"redirect": {false, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}},
		"no answer_sign": {true, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":[]}`) }},
		"answer_sign of another answer": {true, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("gjzwfwpt_answer_sign", sign("s", "fund", "R1", r.Header.Get("gjzwfwpt_rtime"), sm3Hex([]byte(`{}`))))
			fmt.Fprint(w, `{"data":[]}`)
		}},
		"answer_sign for another request": {true, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("gjzwfwpt_answer_sign", sign("s", "fund", "R1", "1", sm3Hex([]byte(`{"data":[]}`))))
			fmt.Fprint(w, `{"data":[]}`)
		}},
		"compressed": {false, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(w, "\x1f\x8b\x08")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			config := fake(t, test.handler)
			config.AnswerMAC = test.mac
			_, err := newPlatform(t, config).Query(t.Context(), askFor(t, fundEntry(), liMing))
			wantKind(t, err, ErrAnswer)
		})
	}
}

func TestPlatform_SecretRefusedForEverIsAnErrorAfterTwoQuestions(t *testing.T) {
	var asked atomic.Int32
	config := fake(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"code":"SECRET_EXPIRED"}`)
	})
	_, err := newPlatform(t, config).Query(t.Context(), askFor(t, fundEntry(), liMing))
	if err == nil || asked.Load() != 2 {
		t.Errorf("%d questions, %v", asked.Load(), err)
	}
}

func TestPlatform_PeerThatHangsInTheHandshakeIsUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // the kernel connects, nobody shakes hands
	config := fake(t, nil)
	config.URL, config.ConnectTimeout = "https://"+l.Addr().String(), catalog.Duration(50*time.Millisecond)
	_, err = newPlatform(t, config).Query(t.Context(), askFor(t, fundEntry(), liMing))
	wantKind(t, err, exchange.ErrUnreachable)
}

func TestPlatform_PeerThatComesBackIsFoundAgain(t *testing.T) {
	for pause := 50 * time.Millisecond; ; pause *= 4 {
		config := fake(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":[]}`) })
		good := config.URL
		config.BreakFor = catalog.Duration(pause)
		p := newPlatform(t, config)
		if _, err := p.Query(t.Context(), askFor(t, fundEntry(), liMing)); err != nil {
			t.Fatal(err)
		}
		p.config.URL = "https://" + closedPort(t)
		began := time.Now()
		for range 5 {
			_, err := p.Query(t.Context(), askFor(t, fundEntry(), liMing))
			wantKind(t, err, exchange.ErrUnreachable)
		}
		p.config.URL = good
		_, err := p.Query(t.Context(), askFor(t, fundEntry(), liMing))
		if err == nil && time.Since(began) >= pause {
			continue // this machine was too slow for such a pause
		}
		wantKind(t, err, exchange.ErrUnreachable) // known to be down
		time.Sleep(pause + 10*time.Millisecond)
		if _, err := p.Query(t.Context(), askFor(t, fundEntry(), liMing)); err != nil {
			t.Errorf("after the pause: %v", err)
		}
		return
	}
}

func TestPlatform_CloseEndsRenewals(t *testing.T) {
	config := fake(t, nil)
	p, err := NewPlatform(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Query(context.Background(), askFor(t, fundEntry(), liMing)); !errors.Is(err, errClosed) {
		t.Errorf("error %v", err)
	}
}

func TestPlatform_PrepareRefusesEntriesThatDoNotFit(t *testing.T) {
	p := newPlatform(t, fake(t, nil))
	if err := p.Prepare(fundEntry()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*catalog.Source){
		"no service":        func(s *catalog.Source) { s.Query.Service = "" },
		"unknown parameter": func(s *catalog.Source) { s.Query.Params = map[string]string{"a": "number", "b": "birth"} },
		"about nobody":      func(s *catalog.Source) { s.Query.Params = map[string]string{"a": "name", "b": "=1"} },
		"bad expression":    func(s *catalog.Source) { s.Answer.Records = "[" },
	} {
		t.Run(name, func(t *testing.T) {
			src := fundEntry()
			change(&src)
			wantKind(t, p.Prepare(src), ErrSource)
		})
	}
}

func TestNewPlatform_RefusesConfigurations(t *testing.T) {
	good := fake(t, nil)
	for name, change := range map[string]func(*PlatformConfig){
		"plain HTTP":          func(c *PlatformConfig) { c.URL = "http://127.0.0.1:1" },
		"password in the URL": func(c *PlatformConfig) { c.URL = "https://a:b@127.0.0.1" },
		"no requester":        func(c *PlatformConfig) { c.RID = "" },
		"no CA":               func(c *PlatformConfig) { c.CA = "" },
		"CA not PEM":          func(c *PlatformConfig) { c.CA = c.AppKeyFile },
		"no app key":          func(c *PlatformConfig) { c.AppKeyFile = "" },
		"empty app key":       func(c *PlatformConfig) { c.AppKeyFile = write(t, t.TempDir(), "k", []byte(" \n")) },
		"certificate, no key": func(c *PlatformConfig) { c.Certificate = c.CA },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			change(&c)
			if _, err := NewPlatform(c); err == nil {
				t.Error("accepted")
			}
		})
	}
}
