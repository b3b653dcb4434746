<?php

declare(strict_types=1);

namespace Domoflux\Tests;

/** Stands between the plugin and the daemon's API, and counts the connections, of which each has one request. */
final class Proxy
{
    private int $pid;

    private string $counted;

    public function __construct(Jeedom $jeedom)
    {
        $place = $jeedom->path('proxy');
        $this->counted = $place . '/counted';
        mkdir($place);
        file_put_contents($this->counted, '');
        $listener = stream_socket_server('tcp://127.0.0.1:0');
        $port = (int) substr((string) strrchr(stream_socket_get_name($listener, false), ':'), 1);
        $endpoint = json_decode((string) file_get_contents($jeedom->path('state/endpoint.json')), true);
        file_put_contents($place . '/endpoint.json', json_encode(['port' => $port] + $endpoint));
        $pid = pcntl_fork();
        if ($pid === 0) {
            $this->serve($listener, (int) $endpoint['port']);
        }
        $this->pid = $pid;
        fclose($listener);
        putenv('DOMOFLUX_STATE_DIR=' . $place);
    }

    /** How many since the last call. */
    public function calls(): int
    {
        $calls = strlen((string) file_get_contents($this->counted));
        file_put_contents($this->counted, '');
        return $calls;
    }

    public function end(): void
    {
        posix_kill($this->pid, SIGKILL);
        pcntl_waitpid($this->pid, $status);
    }

    /** @param resource $listener */
    private function serve($listener, int $port): void
    {
        while (true) {
            $client = @stream_socket_accept($listener, 60);
            if ($client === false) {
                exit(0);
            }
            file_put_contents($this->counted, 'x', FILE_APPEND);
            $daemon = stream_socket_client('tcp://127.0.0.1:' . $port);
            $open = [$client, $daemon];
            while (count($open) === 2) {
                $ready = $open;
                $write = $except = null;
                stream_select($ready, $write, $except, 30);
                foreach ($ready as $from) {
                    $bytes = fread($from, 65536);
                    if ($bytes === '' || $bytes === false) {
                        $open = [];
                    } else {
                        fwrite($from === $client ? $daemon : $client, $bytes);
                    }
                }
            }
            fclose($client);
            fclose($daemon);
        }
    }
}
