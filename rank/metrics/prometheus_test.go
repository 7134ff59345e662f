package metrics

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPrometheus: each step's values are served, those between records too, on the loopback interface unless a host is
// named.
func TestPrometheus(t *testing.T) {
	l := newLogger(t, Options{Prometheus: ":0", EverySteps: 10})
	err := errors.Join(
		l.Step(Record{Step: 1, Loss: 2, NumLabelTokens: 5}),
		l.Step(Record{Step: 2, Epoch: 1, Loss: 1.5, GradNorm: 0.5, LR: 1e-5, NumLabelTokens: 7, TokS: 100, StepTimeS: 0.25, MFU: 0.4, MemGiB: 2}),
		l.Validation(ValidationRecord{Step: 2, Set: "long", ValLoss: 1.25}))
	if err != nil {
		t.Fatal(err)
	}
	address := l.live.server.Addr
	if host, _, err := net.SplitHostPort(address); err != nil || host != "127.0.0.1" {
		t.Errorf("it listens on %s", address)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err = errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"gorun_step 2", "gorun_epoch 1", "gorun_loss 1.5", "gorun_grad_norm 0.5", "gorun_learning_rate 1e-05",
		"gorun_tokens_per_second 100", "gorun_step_seconds 0.25", "gorun_mfu 0.4", "gorun_device_memory_peak_bytes 2.147483648e+09",
		"gorun_label_tokens_total 12", `gorun_validation_loss{set="long"} 1.25`,
	} {
		if !strings.Contains(string(body), "\n"+want+"\n") {
			t.Errorf("%q is not in\n%s", want, body)
		}
	}
	if _, err := New(Options{Prometheus: address}); err == nil || !strings.Contains(err.Error(), "logging.prometheus") {
		t.Errorf("a port in use: %v, want logging.prometheus named", err)
	}
}
