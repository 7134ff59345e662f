package metrics

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// endpoint serves the run's newest values at /metrics, for Prometheus to scrape.
type endpoint struct {
	server *http.Server
	served chan error // what the server ended with

	stepGauge, epoch, loss, gradNorm, lr, tokS, stepTime, mfu, memory prometheus.Gauge
	tokens                                                            prometheus.Counter
	valLoss                                                           *prometheus.GaugeVec
}

// openEndpoint listens on HOST:PORT; without a host on the loopback interface only.
func openEndpoint(address string) (*endpoint, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("logging.prometheus: %w", err)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fmt.Errorf("logging.prometheus: %w; name a free port, or drop it", err)
	}
	e := &endpoint{served: make(chan error, 1)}
	registry := e.register()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 5 * time.Second}))
	e.server = &http.Server{
		Addr: listener.Addr().String(), Handler: mux,
		ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
	}
	go func() { e.served <- e.server.Serve(listener) }()
	return e, nil
}

// register makes the metrics in a registry of their own.
func (e *endpoint) register() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "gorun", Name: name, Help: help})
		registry.MustRegister(g)
		return g
	}
	e.stepGauge = gauge("step", "Optimizer steps done.")
	e.epoch = gauge("epoch", "Pass over the data, from 0.")
	e.loss = gauge("loss", "Mean training loss over the step's valid tokens.")
	e.gradNorm = gauge("grad_norm", "Global norm of the gradient before clipping.")
	e.lr = gauge("learning_rate", "Learning rate of the step.")
	e.tokS = gauge("tokens_per_second", "Tokens per second and device, padding included.")
	e.stepTime = gauge("step_seconds", "Seconds that the step took.")
	e.mfu = gauge("mfu", "Share of the device's peak FLOPs, 0 to 1; 0 where the peak is not known.")
	e.memory = gauge("device_memory_peak_bytes", "Peak memory of the device; 0 where it is not known.")
	e.tokens = prometheus.NewCounter(prometheus.CounterOpts{Namespace: "gorun", Name: "label_tokens_total", Help: "Valid tokens trained on since the process started."})
	e.valLoss = prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "gorun", Name: "validation_loss", Help: "Mean loss over the validation set's valid tokens."}, []string{"set"})
	registry.MustRegister(e.tokens, e.valLoss, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

func (e *endpoint) step(r Record) error {
	e.stepGauge.Set(float64(r.Step))
	e.epoch.Set(float64(r.Epoch))
	e.loss.Set(r.Loss)
	e.gradNorm.Set(r.GradNorm)
	e.lr.Set(r.LR)
	e.tokS.Set(r.TokS)
	e.stepTime.Set(r.StepTimeS)
	e.mfu.Set(r.MFU)
	e.memory.Set(r.MemGiB * (1 << 30))
	e.tokens.Add(float64(r.NumLabelTokens))
	return nil
}

func (e *endpoint) validated(v ValidationRecord) error {
	e.valLoss.WithLabelValues(v.Set).Set(v.ValLoss)
	return nil
}

// close lets a scrape in progress end, for a moment.
func (e *endpoint) close(error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := e.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, e.server.Close())
	}
	if served := <-e.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("logging.prometheus: %w", err)
	}
	return nil
}
