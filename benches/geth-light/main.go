// Times light verification as geth does it, beside `hematite bench verify`.
//
// geth exports neither its cache generation nor hashimotoLight, so they are linked by name:
//
//	go run -ldflags=-checklinkname=0 . SECONDS THREADS
package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	_ "unsafe"

	"github.com/ethereum/go-ethereum/consensus/ethash"
)

//go:linkname cacheSize github.com/ethereum/go-ethereum/consensus/ethash.cacheSize
func cacheSize(block uint64) uint64

//go:linkname datasetSize github.com/ethereum/go-ethereum/consensus/ethash.datasetSize
func datasetSize(block uint64) uint64

//go:linkname generateCache github.com/ethereum/go-ethereum/consensus/ethash.generateCache
func generateCache(dest []uint32, epoch uint64, seed []byte)

//go:linkname hashimotoLight github.com/ethereum/go-ethereum/consensus/ethash.hashimotoLight
func hashimotoLight(size uint64, cache []uint32, hash []byte, nonce uint64) ([]byte, []byte)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: geth-light SECONDS THREADS")
		os.Exit(2)
	}
	seconds, err := strconv.Atoi(os.Args[1])
	if err == nil && seconds < 1 {
		err = fmt.Errorf("%d is not a number of seconds", seconds)
	}
	threads, err2 := strconv.Atoi(os.Args[2])
	if err != nil || err2 != nil {
		fmt.Fprintln(os.Stderr, "not a number:", err, err2)
		os.Exit(2)
	}
	cache := make([]uint32, cacheSize(0)/4)
	generateCache(cache, 0, ethash.SeedHash(0))
	size := datasetSize(0)
	var hashes atomic.Uint64
	var stop atomic.Bool
	var group sync.WaitGroup
	begun := time.Now()
	for thread := 0; thread < threads; thread++ {
		group.Add(1)
		go func(nonce uint64) {
			defer group.Done()
			hash := make([]byte, 32)
			for ; !stop.Load(); nonce++ {
				hashimotoLight(size, cache, hash, nonce)
				hashes.Add(1)
			}
		}(uint64(thread) << 40)
	}
	time.Sleep(time.Duration(seconds) * time.Second)
	stop.Store(true)
	group.Wait()
	fmt.Printf("%.0f\n", float64(hashes.Load())/time.Since(begun).Seconds())
}
