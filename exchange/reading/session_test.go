package reading

import (
	"context"
	"testing"
	"time"

	"yizheng/audit"
	"yizheng/catalog"
)

func TestPairingBindsASessionToOneWorkstation(t *testing.T) {
	h := newHall(t)
	_, who := h.paired()
	if ws := h.Workstations("clerk-01", who.Session); len(ws) != 1 || ws[0] != "ws-01" {
		t.Errorf("%v", ws)
	}
	if ws := h.Workstations("clerk-02", who.Session); ws != nil {
		t.Errorf("another clerk uses the session: %v", ws)
	}
	if ws := h.Workstations("clerk-01", "made up"); ws != nil {
		t.Errorf("%v", ws)
	}
	if e := h.records(audit.OpLogin); len(e) != 1 || e[0].Closed.Workstation != "ws-01" || e[0].Open.Phase != audit.PhaseDone {
		t.Errorf("%+v", e)
	}
}

func TestPairingCodeWorksOnceAndForItsOwnCaller(t *testing.T) {
	h := newHall(t)
	ctx := context.Background()
	_, err := h.Connect("ws-03", "333333") // the business system's
	h.ok(err)
	if _, _, err := h.Pair(ctx, h.clerk, []string{"333333"}); code(err) != "PAIRING_CODE" {
		t.Errorf("a workstation of another caller: %v", err)
	}
	h.paired()
	other, _ := h.Catalogue.OperatorByID("clerk-02")
	if _, _, err := h.Pair(ctx, other, []string{"123456"}); code(err) != "PAIRING_CODE" {
		t.Errorf("used twice: %v", err)
	}
	for name, codes := range map[string][]string{"none": nil, "too many": {"1", "2", "3", "4", "5"}, "empty": {""}} {
		if _, _, err := h.Pair(ctx, other, codes); code(err) != "PAIRING_CODE" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTwoReadersPairWithOneSession(t *testing.T) {
	h := newHall(t)
	for ws, c := range map[catalog.WorkstationID]string{"ws-01": "111111", "ws-02": "222222"} {
		_, err := h.Connect(ws, c)
		h.ok(err)
	}
	if _, _, err := h.Pair(context.Background(), h.clerk, []string{"111111", "999999"}); err == nil {
		t.Error("one code of two is wrong")
	}
	id, ws, err := h.Pair(context.Background(), h.clerk, []string{"222222", "111111", "111111"})
	h.ok(err)
	if len(ws) != 2 || len(h.Workstations("clerk-01", id)) != 2 {
		t.Errorf("%v", ws)
	}
}

func TestGuessingCodesIsStopped(t *testing.T) {
	h := newHall(t)
	ctx := context.Background()
	_, err := h.Connect("ws-01", "123456")
	h.ok(err)
	for i := range maxGuesses {
		if _, _, err := h.Pair(ctx, h.clerk, []string{"00000" + string(rune('0'+i))}); code(err) != "PAIRING_CODE" {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	if _, _, err := h.Pair(ctx, h.clerk, []string{"123456"}); code(err) != "PAIRING_LOCKED" {
		t.Errorf("the right code while locked: %v", err)
	}
	other, _ := h.Catalogue.OperatorByID("clerk-02")
	if _, _, err := h.Pair(ctx, other, []string{"000000"}); code(err) != "PAIRING_CODE" {
		t.Errorf("another clerk is locked out: %v", err)
	}
	denied := 0
	for _, e := range h.records(audit.OpLogin) {
		if e.Open.Phase == audit.PhaseDenied && e.Closed.Session == "" {
			denied++
		}
	}
	if denied != maxGuesses+2 {
		t.Errorf("%d attempts recorded", denied)
	}
	h.pass(lockFor + time.Second)
	if _, _, err := h.Pair(ctx, h.clerk, []string{"123456"}); err != nil {
		t.Errorf("after the lock: %v", err)
	}
}

func TestNewConnectionOfAWorkstationTakesOver(t *testing.T) {
	h := newHall(t)
	old, who := h.paired()
	now, err := h.Connect("ws-01", "654321")
	h.ok(err)
	if _, open := <-old.Events; open {
		t.Error("the old connection goes on")
	}
	if ws := h.Workstations("clerk-01", who.Session); len(ws) != 0 {
		t.Errorf("the session is still paired: %v", ws)
	}
	h.Disconnect(old) // late: must not end the new one
	if _, _, err := h.Pair(context.Background(), h.clerk, []string{"654321"}); err != nil {
		t.Error(err)
	}
	h.Disconnect(now)
	if _, open := <-now.Events; open || len(h.Desk.agents) > 0 {
		t.Error("an agent that left is kept")
	}
}

func TestConnectRefusesBadAndDoubleCodes(t *testing.T) {
	h := newHall(t)
	for _, bad := range []string{"", "12345", "1234567", "12345a", "１２３４５６"} {
		if _, err := h.Connect("ws-01", bad); code(err) != "PAIRING_CODE" {
			t.Errorf("%q: %v", bad, err)
		}
	}
	_, err := h.Connect("ws-01", "123456")
	h.ok(err)
	if _, err := h.Connect("ws-02", "123456"); code(err) != "PAIRING_CODE" {
		t.Errorf("two agents show one code: %v", err)
	}
}

func TestAgentIsToldThatItsSessionIsOver(t *testing.T) {
	for name, end := range map[string]func(h *hall, who Who){
		"logout": func(h *hall, who Who) { h.ok(h.End(context.Background(), h.clerk, who.Session)) },
		"idle": func(h *hall, who Who) {
			h.pass(sessionIdle + time.Second)
			h.Workstations("clerk-01", who.Session)
		},
		"the clerk pairs anew": func(h *hall, _ Who) {
			_, _, err := h.Pair(context.Background(), h.clerk, []string{"123456"}) // used
			if err == nil {
				h.t.Error("paired")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t)
			a, who := h.paired()
			end(h, who)
			select {
			case e := <-a.Events:
				if e.Kind != "unpaired" {
					t.Errorf("%+v", e)
				}
			default:
				t.Error("the agent still shows the used code")
			}
			if ws := h.Workstations("clerk-01", who.Session); ws != nil {
				t.Errorf("the session lives: %v", ws)
			}
		})
	}
}

func TestNobodyEndsAnothersSession(t *testing.T) {
	h := newHall(t)
	_, who := h.paired()
	other, _ := h.Catalogue.OperatorByID("clerk-02")
	h.ok(h.End(context.Background(), other, who.Session))
	if ws := h.Workstations("clerk-01", who.Session); len(ws) != 1 {
		t.Error("ended")
	}
	if e := h.records(audit.OpLogout); len(e) != 1 || e[0].Open.Outcome != "NO_SUCH_SESSION" || e[0].Closed.Session != "" {
		t.Errorf("%+v", e)
	}
}

func TestUseKeepsASessionAlive(t *testing.T) {
	h := newHall(t)
	_, who := h.paired()
	for range 3 {
		h.pass(sessionIdle - time.Minute)
		if ws := h.Workstations("clerk-01", who.Session); len(ws) != 1 {
			t.Fatal("ended though it was used")
		}
	}
}

func TestSessionThatCannotBeRecordedDoesNotBegin(t *testing.T) {
	h := newHall(t)
	a, err := h.Connect("ws-01", "123456")
	h.ok(err)
	h.ok(h.log.Close())
	if _, _, err := h.Pair(context.Background(), h.clerk, []string{"123456"}); code(err) != "UNAVAILABLE" || len(h.sessions) > 0 {
		t.Errorf("%v", err)
	}
	if e := <-a.Events; e.Kind != "unpaired" {
		t.Errorf("%+v", e)
	}
}
