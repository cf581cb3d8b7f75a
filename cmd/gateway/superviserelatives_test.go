package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNumbersAreReadAndNeverSaid(t *testing.T) {
	const number = "690102198503120016"
	file := filepath.Join(t.TempDir(), "numbers")
	if err := os.WriteFile(file, []byte("\ufeff"+number+"\r\n\n  690102198806140030 \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readNumbers(file); err != nil || !slices.Equal(got, []string{number, "690102198806140030"}) {
		t.Errorf("read %q, %v", got, err)
	}
	if _, err := readNumbers(number); !errors.Is(err, os.ErrNotExist) || strings.Contains(err.Error(), number) {
		t.Errorf("a number in place of a file's name: %v", err)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("1", 1<<17)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readNumbers(file); err == nil || !strings.Contains(err.Error(), "一行一个") {
		t.Errorf("one endless line: %v", err)
	}
}

func TestARefusalSaysWhichOfTheNumbersIsWrong(t *testing.T) {
	err := refusal(422, []byte(`{"code":"INVALID_REQUEST","title":"校验码不对","title_en":"wrong check digit","where":"numbers[1]"}`))
	if !strings.Contains(err.Error(), "(INVALID_REQUEST, numbers[1])") {
		t.Error(err)
	}
}

func TestOneStepWithAListOfRelativesAtATime(t *testing.T) {
	for name, args := range map[string][]string{
		"entered and approved":        {"-operator", "clerk-01", "-approve", "R"},
		"nobody, and a file":          {"-operator", "clerk-01", "-none", "-numbers", "numbers"},
		"nobody, of no account":       {"-none"},
		"a list that is looked at":    {"-show", "R", "-numbers", "numbers"},
		"approved as nobody and some": {"-approve", "R", "-none", "-numbers", "numbers"},
	} {
		if err := superviseRelatives(t.Context(), args, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoNumberAtAllIsNotADeclaration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "numbers")
	for name, content := range map[string]string{"empty": "", "blank": "\n \r\n"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := declaredNumbers(file); err == nil || !strings.Contains(err.Error(), "-none") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
