//go:build e2e

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"yizheng/cmd/gateway/setup"
	"yizheng/web/health"
)

// demoRun is `gateway demo` as a visitor runs it.
type demoRun struct {
	t    *testing.T
	dir  string // state and out lie below it
	cmd  *exec.Cmd
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *demoRun) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

func (r *demoRun) said() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func startDemo(t *testing.T, dir string, args ...string) *demoRun {
	t.Helper()
	r := &demoRun{t: t, dir: dir}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	args = append([]string{"demo", "-configs", demoConfigs, "-state", filepath.Join(dir, "state"), "-out", filepath.Join(dir, "out")}, args...)
	r.cmd = exec.CommandContext(ctx, filepath.Join(programs(t), "gateway"), args...)
	r.cmd.Stdout, r.cmd.Stderr = r, r
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// ends waits for the end, compares the exit code and checks that no process is left.
func (r *demoRun) ends(want int) string {
	r.t.Helper()
	_ = r.cmd.Wait() // the code says it
	if got := r.cmd.ProcessState.ExitCode(); got != want {
		r.t.Errorf("ended with %d, want %d\n%s", got, want, r.said())
	}
	if left := childrenOf(r.t, r.dir); len(left) > 0 {
		r.t.Errorf("left running:\n%s", strings.Join(left, "\n"))
	}
	return r.said()
}

// childrenOf are the processes that were started with a file of dir: all that a demo starts.
func childrenOf(t *testing.T, dir string) []string {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(list) == 0 {
		t.Fatalf("no processes in /proc: %v", err)
	}
	var found []string
	for _, name := range list {
		b, err := os.ReadFile(name)
		if err == nil && bytes.Contains(b, []byte(filepath.Join(dir, "state"))) {
			found = append(found, string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
		}
	}
	return found
}

func (r *demoRun) says(words ...string) {
	r.t.Helper()
	for _, w := range words {
		if !strings.Contains(r.said(), w) {
			r.t.Errorf("it does not say %q:\n%s", w, r.said())
		}
	}
}

func (r *demoRun) until(word string) {
	r.t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(r.said(), word); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("it does not come to %q:\n%s", word, r.said())
		}
	}
}

// files are the names below out.
func (r *demoRun) files() []string {
	var names []string
	entries, err := os.ReadDir(filepath.Join(r.dir, "out"))
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestDemoOnce(t *testing.T) {
	dir := t.TempDir()
	began := time.Now()
	first := startDemo(t, dir, "-once")
	first.ends(0)
	took := time.Since(began)
	first.says("SI-01", "材料已齐", "✓ 审计日志", "NOT_FOUND")
	first.says("本地", "省平台", "专有云", "摆渡") // all four kinds of route
	first.says("延时办理，办结后送达")             // a record that an officer confirms, which then arrives
	for _, f := range demoCatalogue(t).Fronts {
		first.says("✓ 前置机 " + string(f.ID) + " 的审计日志")
	}
	for _, f := range []string{"SI-01.pdf", "SI-01.json", "SI-01.receipt", "HR-01.pdf", "NC-01.pdf", "RE-01.pdf", "UE-01.pdf"} {
		if !slices.Contains(first.files(), f) {
			t.Errorf("out has no %s: %v", f, first.files())
		}
	}
	first.showsThePath()
	keys := treeOf(t, filepath.Join(dir, "state", "keys"))
	began = time.Now()
	second := startDemo(t, dir, "-once", "-item", "HPW", "-card", "li-ming,wang-fang")
	second.ends(0)
	t.Logf("first run %v, second run %v", took.Round(10*time.Millisecond), time.Since(began).Round(10*time.Millisecond))
	if time.Since(began) > 20*time.Second {
		t.Errorf("the second run took %v", time.Since(began))
	}
	second.says("（配偶）", "HF-01@spouse", "材料已齐")
	if treeOf(t, filepath.Join(dir, "state", "keys")) != keys {
		t.Error("the second run changed keys")
	}
	denied := startDemo(t, dir, "-once", "-item", "DPS", "-situation", "NURSING", "-card", "wang-qian")
	denied.ends(0)
	denied.says("DENIED", "UNREACHABLE", "FOUND", "本事项无权取用此项")
	for _, f := range []string{"HF-01.pdf", "HF-01.json"} { // the second run's were about others
		if slices.Contains(denied.files(), f) {
			t.Errorf("an earlier run's %s lies beside this run's results", f)
		}
	}
}

// showsThePath runs the command that the demo ends with: the path over all logs, and their
// two sides. Without the fronts' logs it names each, and takes nothing for missing.
func (r *demoRun) showsThePath() {
	r.t.Helper()
	_, line, ok := strings.Cut(r.said(), "：gateway audit path ")
	if !ok {
		r.t.Fatalf("it does not say how to see the path:\n%s", r.said())
	}
	args := append([]string{"audit", "path"}, strings.Fields(line)...)
	out, err := exec.CommandContext(r.t.Context(), filepath.Join(programs(r.t), "gateway"), args...).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("一致 6")) || bytes.Contains(out, []byte("结果不完整")) || bytes.Contains(out, []byte("unchecked")) {
		r.t.Errorf("the whole path: %v\n%s", err, out)
	}
	alone := append(slices.Clone(args[:4]), args[len(args)-1])
	out, err = exec.CommandContext(r.t.Context(), filepath.Join(programs(r.t), "gateway"), alone...).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("一致 0")) || bytes.Count(out, []byte("未带来该日志")) != 4 || bytes.Count(out, []byte("unchecked")) != 6 {
		r.t.Errorf("the gateway's log alone: %v\n%s", err, out)
	}
}

// treeOf lists every file with size and time.
func treeOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil && !e.IsDir() {
			fmt.Fprintln(&b, path, info.Size(), info.ModTime())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDemoWrongArguments(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		code int
		says []string
	}{
		{"unknown item", []string{"-item", "NONE"}, 1, []string{"NONE", "no such item", "PRH", "HPW"}},
		{"unknown situation", []string{"-item", "PRH", "-situation", "NONE"}, 1, []string{"NONE", "no such situation", "LOCAL"}},
		{"unknown person", []string{"-card", "nobody"}, 1, []string{"nobody", "no such sample person", "li-ming"}},
		{"an ID number for a person", []string{"-card", "690102198503120016"}, 1, []string{"no such sample person"}},
		{"one card for two", []string{"-item", "HPW"}, 1, []string{"2 cards", "2 张"}},
		{"the same card twice", []string{"-item", "HPW", "-card", "li-ming,li-ming"}, 1, []string{"twice", "两次"}},
		{"a person without a card", []string{"-card", "li-xiaohe"}, 1, []string{"no card", "没有身份证"}},
		{"no font", []string{"-font", "/nowhere.ttf"}, 1, []string{"/nowhere.ttf", "make setup"}},
		{"unknown flag", []string{"-crad", "li-yu"}, 2, []string{"crad", "example"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			r := startDemo(t, dir, append(tt.args, "-once")...)
			r.ends(tt.code)
			r.says(tt.says...)
			if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
				t.Error("it made an output directory")
			}
		})
	}
}

func TestDemoExpiredCard(t *testing.T) {
	r := startDemo(t, t.TempDir(), "-once", "-card", "zheng-xiaoman")
	r.ends(1)
	r.says("CARD_EXPIRED", "证件已过有效期")
}

func TestDemoPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := startDemo(t, t.TempDir(), "-listen", l.Addr().String())
	r.ends(1)
	r.says(l.Addr().String(), "已被占用", "in use", "-listen")
}

// Told to stop, while serving or in the middle of its start, the demo leaves no process behind.
func TestDemoStops(t *testing.T) {
	const serving = "继续服务" // the names of its files must not hold it: they are printed, too
	for _, tt := range []struct {
		name   string
		after  string
		signal os.Signal
		code   int
	}{
		{"Ctrl-C while serving", serving, os.Interrupt, 0},
		{"SIGTERM while serving", serving, syscall.SIGTERM, 0},
		{"SIGTERM during the start", "一证", syscall.SIGTERM, 1},
		{"SIGTERM in the middle", "城市已启动", syscall.SIGTERM, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			r := startDemo(t, dir, "-listen", "127.0.0.1:0", "-item", "DPS", "-situation", "NURSING", "-card", "liu-defu") // one leg takes two seconds
			r.until(tt.after)
			if tt.after == serving {
				c := demoCatalogue(t)
				want := 6 + len(c.Fronts) + 2*len(setup.FrontsBehindGap(c)) // itself, province, witness, gateway, two read agents; relay and device of each gap
				if n := len(childrenOf(t, dir)); n != want {
					t.Errorf("%d processes while serving, want %d", n, want)
				}
			}
			began := time.Now()
			if err := r.cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			r.ends(tt.code)
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %v to stop", took)
			}
			// what is left can be used again
			again := startDemo(t, dir, "-once")
			again.ends(0)
		})
	}
}

// A city's log verifies with the auditor's tool; a flipped byte is found and named.
func TestCityScripts(t *testing.T) {
	city, _ := startCity(t)
	if _, err := city.Login(t.Context()); err != nil {
		t.Fatal(err)
	}
	up := exec.CommandContext(t.Context(), filepath.Join(programs(t), "gateway"), "health", "-ca", filepath.Join(city.State, "keys/tls/ca.crt"), "-url", city.URL)
	if out, err := up.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("up")) {
		t.Errorf("health: %v %s", err, out)
	}
	admin := filepath.Join(city.State, "keys/tls/admin-security-1")
	how := exec.CommandContext(t.Context(), filepath.Join(programs(t), "gateway"), "health", "-json", "-ca", filepath.Join(city.State, "keys/tls/ca.crt"), "-url", city.URL, "-cert", admin+".crt", "-cert-key", admin+".key")
	var report health.Report
	if out, err := how.Output(); err != nil || json.Unmarshal(out, &report) != nil || !report.Ready || report.Log.Checkpoint == nil || report.Witness == nil || len(report.Lines) == 0 || len(report.Ends) == 0 {
		t.Errorf("health -json: %v %s", err, out)
	}
	live := exec.CommandContext(t.Context(), filepath.Join(programs(t), "gateway"), "audit", "verify", "-live", "-dir", filepath.Join(city.State, "audit"), "-key", filepath.Join(city.State, "keys/audit.pub.pem"))
	if out, err := live.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("通过 / ok")) {
		t.Errorf("audit verify -live: %v %s", err, out)
	}
	if err := city.Stop(); err != nil {
		t.Fatal(err)
	}
	runScripts(t, "testdata/city", map[string]string{"STATE": city.State, "URL": city.URL, "SHARD": filepath.Base(shardOf(t, city))})
}
