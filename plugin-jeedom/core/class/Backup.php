<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * What a backup of Jeedom does not have by itself: the counters of the flows. Their specs are in Jeedom's database.
 */
final class Backup
{
    private const FILE = __DIR__ . '/../../data/backup.json';

    /** Setting of the plugin: a backup was restored, and the daemon has not got it yet. */
    private const PENDING = 'restored';

    public static function write(): void
    {
        try {
            $told = Rpc::batch(['hello' => ['daemon.hello', ['client' => 'jeedom-backup', 'api' => Rpc::API]], 'counters' => ['flow.counters']]);
        } catch (AwayException | RpcException $e) {
            // An older file has older counters, which is better than none.
            echo 'domoflux: ' . $e->getMessage() . "\n";
            return;
        }
        $dir = dirname(self::FILE);
        if (!is_dir($dir)) {
            mkdir($dir, 0770, true);
        }
        $export = ['version' => $told['hello']['version'], 'at' => date('c'), 'counters' => $told['counters']];
        // Beside and renamed: a backup that is made meanwhile has the old or the new.
        file_put_contents(self::FILE . '.new', json_encode($export, JSON_PRETTY_PRINT));
        rename(self::FILE . '.new', self::FILE);
    }

    /** The core has put a backup back; the daemon gets it at its next start. */
    public static function announce(): void
    {
        \config::save(self::PENDING, 1, 'domoflux');
        try {
            Daemon::settle();
        } catch (\Throwable $e) {
            // The core's restore.php would end with an Error of ours, before it starts Jeedom again.
            Notice::log('info', $e->getMessage());
        }
    }

    /** After a restore: counters of the daemon that are behind those of the backup get these. */
    public static function apply(): void
    {
        if ((int) \config::byKey(self::PENDING, 'domoflux', 0) !== 1) {
            return;
        }
        $backup = json_decode((string) @file_get_contents(self::FILE), true);
        $saved = is_array($backup) && is_array($backup['counters'] ?? null) ? $backup['counters'] : [];
        $now = Rpc::call('flow.counters');
        foreach ($saved as $id => $counters) {
            if (!isset($now[$id]) || !is_array($counters)) {
                continue;
            }
            // Beyond 2^31 they are floats, where PHP is of 32 bits.
            $behind = array_filter(array_intersect_key($counters, $now[$id]), static function ($value, string $name) use ($now, $id): bool {
                return is_numeric($value) && $value > $now[$id][$name];
            }, ARRAY_FILTER_USE_BOTH);
            if ($behind !== []) {
                try {
                    Rpc::call('flow.set_counters', ['id' => $id, 'counters' => $behind]);
                } catch (RpcException $e) {
                    Notice::log('warning', $id . ': ' . $e->getMessage());
                }
            }
        }
        \config::remove(self::PENDING, 'domoflux');
    }

    /**
     * The binaries for other machines. That of this one is kept, so that a restored Jeedom needs no network for it.
     *
     * @return string[]
     */
    public static function excluded(): array
    {
        $own = ['x86_64' => 'amd64', 'aarch64' => 'arm64', 'armv7l' => 'armv7', 'armv8l' => 'armv7'][php_uname('m')] ?? '';
        if ($own === 'arm64' && PHP_INT_SIZE === 4) {
            $own = 'armv7';
        }
        return array_map(static function (string $arch): string {
            return 'resources/bin/' . $arch;
        }, array_values(array_diff(['amd64', 'arm64', 'armv7'], [$own])));
    }
}
