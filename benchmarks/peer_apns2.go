// apns2, the library inside gorush, against the sink: `peer_apns2 PORT CA KEY COUNT` prints one JSON line.
//
// Its client knows Apple's hosts, but takes any other in a field. A thousand goroutines push at once, over the one
// client, whose transport opens connections as it needs them.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sideshow/apns2"
	"github.com/sideshow/apns2/payload"
	"github.com/sideshow/apns2/token"
)

const atOnce = 1000

func cpu() float64 {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	port, ca, keyFile := os.Args[1], os.Args[2], os.Args[3]
	count, err := strconv.ParseInt(os.Args[4], 10, 64)
	check(err)
	authority, err := os.ReadFile(ca)
	check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	apns2.DialTLS = func(network, address string, config *tls.Config) (net.Conn, error) {
		trusting := config.Clone()
		trusting.RootCAs = roots
		return tls.Dial(network, address, trusting)
	}
	key, err := token.AuthKeyFromFile(keyFile)
	check(err)
	client := apns2.NewTokenClient(&token.Token{AuthKey: key, KeyID: "KEY1234567", TeamID: "TEAM123456"})
	client.Host = "https://localhost:" + port

	var next atomic.Int64
	var workers sync.WaitGroup
	start, used := time.Now(), cpu()
	for range atOnce {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for number := next.Add(1) - 1; number < count; number = next.Add(1) - 1 {
				answer, err := client.Push(&apns2.Notification{
					DeviceToken: fmt.Sprintf("%064x", number),
					Topic:       "com.example.shop",
					PushType:    apns2.PushTypeAlert,
					Priority:    apns2.PriorityHigh,
					Expiration:  time.Now().Add(24 * time.Hour),
					Payload:     payload.NewPayload().AlertTitle("Hello").AlertBody("Your order is on its way."),
				})
				check(err)
				if !answer.Sent() {
					check(fmt.Errorf("%d %s", answer.StatusCode, answer.Reason))
				}
			}
		}()
	}
	workers.Wait()
	told := map[string]float64{"seconds": time.Since(start).Seconds(), "cpu": cpu() - used}
	check(json.NewEncoder(os.Stdout).Encode(told))
}
