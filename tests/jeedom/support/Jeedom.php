<?php

declare(strict_types=1);

namespace Domoflux\Tests;

use Domoflux\Rpc;

/**
 * A Jeedom in a directory of its own: the fake core, a copy of the plugin, a database, logs, the daemon's state. One a test.
 */
final class Jeedom
{
    /** Port of the daemon's API. */
    public int $port;

    private string $root;

    public function __construct(string $root)
    {
        $this->root = $root;
        $here = dirname(__DIR__);
        foreach (['/plugins/domoflux', '/log', '/data'] as $dir) {
            mkdir($root . $dir, 0777, true);
        }
        self::copyTree($here . '/core', $root . '/core');
        foreach (['core', 'docs', 'plugin_info'] as $part) {
            self::copyTree($here . '/../../plugin-jeedom/' . $part, $root . '/plugins/domoflux/' . $part);
        }
        // As in a release.
        copy($here . '/../../resources/kinds.json', $root . '/plugins/domoflux/core/config/kinds.json');
        putenv('DOMOFLUX_STATE_DIR=' . $root . '/state');
        require_once $root . '/core/php/core.inc.php';
        $this->port = Wire::freePort();
        \config::save('active', 1, 'domoflux');
        \config::save('log::level', 100);
        \config::save('port', (string) $this->port, 'domoflux');
        \config::save('internalPort', Wire::freePort());
        include_file('core', 'domoflux', 'class', 'domoflux');
        require_once $root . '/plugins/domoflux/plugin_info/install.php';
    }

    public function path(string $name): string
    {
        return $this->root . '/' . $name;
    }

    // ---- The daemon

    public function start(): self
    {
        \domoflux::deamon_start();
        return $this;
    }

    /** Ends it, as somebody does who turns the daemon off. */
    public function stop(): self
    {
        \domoflux::deamon_stop();
        return $this;
    }

    public function daemonPid(): int
    {
        return (int) (json_decode((string) @file_get_contents($this->path('state/endpoint.json')), true)['pid'] ?? 0);
    }

    public function supervisorPid(): int
    {
        return (int) @file_get_contents($this->path('tmp/domoflux/deamon.pid'));
    }

    /** Whether there is such a process; one that only waits for its parent to take note of its end has ended. */
    public static function runs(int $pid): bool
    {
        return preg_match('/\) ([A-Z])/', (string) @file_get_contents("/proc/$pid/stat"), $found) === 1 && $found[1] !== 'Z';
    }

    /** @return array<string, array<string, mixed>> the daemon's flows by id */
    public function flows(): array
    {
        return array_column(Rpc::call('flow.list'), null, 'id');
    }

    // ---- Equipment

    /** A new equipment, as the page makes it: with a name only. */
    public function add(string $name, string $kind = 'mirror'): \domoflux
    {
        $eqLogic = new \domoflux();
        $eqLogic->setEqType_name('domoflux');
        $eqLogic->setName($name);
        $eqLogic->setConfiguration('kind', $kind);
        $eqLogic->save();
        return self::reload($eqLogic);
    }

    /**
     * Saves what the form of an equipment sends.
     *
     * @param array<string, mixed> $form
     */
    public static function form(\domoflux $eqLogic, array $form): \domoflux
    {
        $eqLogic = self::reload($eqLogic);
        \utils::a2o($eqLogic, $form);
        $eqLogic->save();
        return self::reload($eqLogic);
    }

    /**
     * What a mirror does. Nobody is at the default target and mirror.
     *
     * @return array<string, mixed>
     */
    public static function spec(int $listen, int $target = 9, int $mirror = 9): array
    {
        return ['listen' => "127.0.0.1:$listen", 'target' => "127.0.0.1:$target", 'mirrors' => [['address' => "127.0.0.1:$mirror"]]];
    }

    /**
     * An equipment that is enabled, with a spec.
     *
     * @param array<string, mixed>|null $spec
     */
    public function mirror(string $name, ?array $spec = null): \domoflux
    {
        $spec = $spec ?? self::spec(Wire::freePort());
        return self::form($this->add($name), ['isEnable' => '1', 'isVisible' => '1', 'configuration' => ['spec' => json_encode($spec)]]);
    }

    /** As another request of a browser finds it. */
    public static function reload(\domoflux $eqLogic): \domoflux
    {
        $found = \eqLogic::byId($eqLogic->getId());
        Check::true($found instanceof \domoflux, 'it is in the database');
        return $found;
    }

    /** @return mixed the value of a command, null if there is no such command */
    public static function value(\domoflux $eqLogic, string $logicalId)
    {
        $cmd = self::reload($eqLogic)->getCmd('info', $logicalId);
        return is_object($cmd) ? $cmd->execCmd() : null;
    }

    /** As the core runs the command of a button. */
    public static function press(\domoflux $eqLogic, string $logicalId): void
    {
        $eqLogic->getCmd('action', $logicalId)->execCmd();
    }

    // ---- What persons see

    public function log(string $name = 'domoflux'): string
    {
        return (string) @file_get_contents($this->path('log/' . $name));
    }

    /** @return string[] the lines on the page since the last call */
    public function alerts(): array
    {
        static $seen = 0;
        $all = \event::told('jeedom::alert');
        $new = array_slice($all, $seen);
        $seen = count($all);
        return array_column($new, 'message');
    }

    /** @return string[] what is in the message centre */
    public function messages(): array
    {
        return array_map(static function (\message $message): string {
            return $message->getMessage();
        }, \message::byPlugin('domoflux'));
    }

    /** What a process that starts now would read anew. */
    public function newProcess(): void
    {
        \config::forget();
        \log::forget();
    }

    // ---- The web server

    /** Starts one for this Jeedom's pages, and returns its address. Its access log is `log/http`. */
    public function serve(): string
    {
        $address = '127.0.0.1:' . \config::byKey('internalPort');
        $command = array_merge(Cases::php(), ['-S', $address, '-t', $this->root]);
        $log = ['file', $this->path('log/http'), 'a'];
        $process = proc_open($command, [['file', '/dev/null', 'r'], $log, $log], $pipes);
        file_put_contents($this->path('pids'), proc_get_status($process)['pid'] . "\n", FILE_APPEND);
        $GLOBALS['web'] = $process; // It ends when nobody holds it.
        Check::eventually(static function () use ($address): bool {
            return Wire::answers((int) substr($address, 10));
        }, 'the web server');
        return 'http://' . $address;
    }

    // ---- Files

    private static function copyTree(string $from, string $to): void
    {
        mkdir($to, 0777, true);
        foreach (array_diff(scandir($from), ['.', '..']) as $name) {
            if (is_dir("$from/$name")) {
                self::copyTree("$from/$name", "$to/$name");
            } else {
                copy("$from/$name", "$to/$name");
            }
        }
    }
}
