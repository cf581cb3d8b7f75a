package process

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// deaf makes this test binary a program that does not heed the end of its context.
const deaf = "YIZHENG_TEST_DEAF"

func TestMain(m *testing.M) {
	if os.Getenv(deaf) == "" {
		os.Exit(m.Run())
	}
	ctx, stop := Signalled(context.Background())
	defer stop()
	fmt.Println("runs")
	<-ctx.Done()
	fmt.Println("told")
	time.Sleep(5 * time.Minute)
}

func TestSignalled_ASecondSignalEndsWhatDoesNotHeedTheFirst(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		c := exec.CommandContext(ctx, os.Args[0])
		c.Env = append(os.Environ(), deaf+"=1")
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		said := bufio.NewScanner(out)
		hear := func(want string) {
			if !said.Scan() || said.Text() != want {
				t.Errorf("%v: it says %q, want %q", s, said.Text(), want)
			}
		}
		hear("runs")
		if err := c.Process.Signal(s); err != nil {
			t.Error(err)
		}
		hear("told")
		done := make(chan error, 1)
		go func() { done <- c.Wait() }()
		again := time.NewTicker(50 * time.Millisecond) // a second signal may come before the first has given them back
		for end := err; ; {
			select {
			case end = <-done:
			case <-again.C:
				_ = c.Process.Signal(s) // it may have ended
				continue
			}
			var exit *exec.ExitError
			if ctx.Err() != nil || !errors.As(end, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != s {
				t.Errorf("%v: ended with %v", s, end)
			}
			break
		}
		again.Stop()
		cancel()
	}
}
