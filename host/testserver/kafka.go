package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hexdag/hexdag/host/testenv"
)

// Kafka starts an Apache Kafka, one node that is its own controller, with the jars that
// .ci/toolchains has Maven put into .build/kafka.
func Kafka(t testing.TB) *Process {
	t.Helper()
	testenv.NeedServer(t, "Kafka")
	java := testenv.NeedProgram(t, "java", "openjdk-17-jdk-headless maven")
	jars := filepath.Join(root(t), ".build", "kafka")
	if found, _ := filepath.Glob(filepath.Join(jars, "kafka_*.jar")); len(found) == 0 {
		testenv.Missing(t, "Apache Kafka; run 'make toolchains'")
	}
	broker, controller := FreePort(t), FreePort(t)
	dir := t.TempDir()
	address := fmt.Sprintf("127.0.0.1:%d", broker)
	config := filepath.Join(dir, "server.properties")
	settings := []string{
		"process.roles=broker,controller", "node.id=1", fmt.Sprintf("controller.quorum.voters=1@127.0.0.1:%d", controller),
		fmt.Sprintf("listeners=PLAINTEXT://%s,CONTROLLER://127.0.0.1:%d", address, controller), "advertised.listeners=PLAINTEXT://" + address,
		"controller.listener.names=CONTROLLER", "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
		"log.dirs=" + filepath.Join(dir, "data"), "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=4",
		"transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1", "group.initial.rebalance.delay.ms=0", "num.network.threads=2", "num.io.threads=2",
	}
	if err := os.WriteFile(config, []byte(strings.Join(settings, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	class := func(args ...string) *exec.Cmd {
		return exec.Command(java, append([]string{"-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(jars, "*")}, args...)...)
	}
	if out, err := class("kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", config).CombinedOutput(); err != nil {
		t.Fatalf("formatting Kafka's storage: %v\n%s", err, out)
	}
	p := start(t, address, nil, func() *exec.Cmd { return class("kafka.Kafka", config) })
	time.Sleep(time.Second) // it listens before it serves
	return p
}

// root is the repository's folder.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "Makefile")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("the repository's root is not above the working folder")
		}
		dir = filepath.Dir(dir)
	}
}
