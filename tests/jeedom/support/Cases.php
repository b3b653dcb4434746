<?php

declare(strict_types=1);

namespace Domoflux\Tests;

/**
 * The tests of a file, each in a process of its own with a Jeedom of its own.
 */
final class Cases
{
    /** How long a test may take. */
    private const SECONDS = 40;

    /** @var array<string, callable(Jeedom): void> */
    private static array $tests = [];

    /** @param callable(Jeedom): void $test */
    public static function add(string $name, callable $test): void
    {
        self::$tests[$name] = $test;
    }

    /** @return string[] the PHP that runs the tests */
    public static function php(): array
    {
        return array_merge([(string) getenv('PHP')], explode(' ', (string) getenv('PHP_FLAGS')));
    }

    /** Runs them all, and prints a line for each. */
    public static function run(string $only = ''): int
    {
        $failed = 0;
        foreach (self::$tests as $name => $test) {
            if ($only !== '' && strpos($name, $only) === false) {
                continue;
            }
            $started = microtime(true);
            $why = self::alone($test);
            printf("%s %s (%.2f s)%s\n", $why === '' ? 'ok    ' : 'FAILED', $name, microtime(true) - $started, $why === '' ? '' : "\n       " . $why);
            $failed += $why === '' ? 0 : 1;
        }
        return $failed === 0 ? 0 : 1;
    }

    /** @param callable(Jeedom): void $test */
    private static function alone(callable $test): string
    {
        $root = self::newDirectory();
        $pid = pcntl_fork();
        if ($pid === 0) {
            self::inChild($test, $root);
        }
        $deadline = microtime(true) + self::SECONDS;
        while (pcntl_waitpid($pid, $status, WNOHANG) === 0) {
            if (microtime(true) > $deadline) {
                posix_kill($pid, SIGKILL);
                pcntl_waitpid($pid, $status);
                break;
            }
            usleep(5000);
        }
        $why = (string) @file_get_contents($root . '/failure');
        if ($why === '' && !(pcntl_wifexited($status) && pcntl_wexitstatus($status) === 0)) {
            $why = pcntl_wifsignaled($status) ? 'ended by signal ' . pcntl_wtermsig($status) : 'exit code ' . pcntl_wexitstatus($status);
        }
        self::endProcesses($root);
        if ($why !== '' && getenv('KEEP') === '1') {
            return $why . "\n       kept: " . $root;
        }
        exec('rm -rf ' . escapeshellarg($root));
        return $why;
    }

    /** @param callable(Jeedom): void $test */
    private static function inChild(callable $test, string $root): void
    {
        try {
            $test(new Jeedom($root));
            exit(0);
        } catch (\Throwable $e) {
            $at = '';
            foreach (array_merge([['file' => $e->getFile(), 'line' => $e->getLine()]], $e->getTrace()) as $call) {
                if (strpos($call['file'] ?? '', '/support/') === false) {
                    $at .= ' < ' . basename($call['file'] ?? '') . ':' . ($call['line'] ?? 0);
                }
            }
            file_put_contents($root . '/failure', get_class($e) . ': ' . $e->getMessage() . $at);
            exit(1);
        }
    }

    private static function newDirectory(): string
    {
        $root = sys_get_temp_dir() . '/domoflux-php-' . getmypid() . '-' . bin2hex(random_bytes(4));
        mkdir($root, 0700);
        return $root;
    }

    /** The supervisor and the daemon of a test, and its web server: those processes whose command line has its directory. */
    private static function endProcesses(string $root): void
    {
        $pids = array_merge(
            [(int) @file_get_contents($root . '/tmp/domoflux/deamon.pid')],
            [(int) (json_decode((string) @file_get_contents($root . '/state/endpoint.json'), true)['pid'] ?? 0)],
            array_map('intval', explode("\n", (string) @file_get_contents($root . '/pids')))
        );
        foreach (array_filter($pids) as $pid) {
            if (strpos((string) @file_get_contents("/proc/$pid/cmdline"), $root) !== false) {
                posix_kill($pid, SIGKILL);
            }
        }
    }
}
