<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * What the daemon tells by itself: flows that change, troubles, its own start. It posts to core/php/jeeDomoflux.php.
 */
final class Callback
{
    /** In the cache: when the daemon was last heard of, a Unix time. */
    public const HEARD = 'domoflux::heard';

    /** In the cache: which address and key the daemon was told last. */
    private const TOLD = 'domoflux::callback';

    /** Beyond so many equipments the whole list is asked for at once. */
    private const FEW = 3;

    /** Tells the daemon where to, and the key by which it is known. */
    public static function register(): void
    {
        try {
            Rpc::call('callback.set', ['url' => self::url(), 'key' => \jeedom::getApiKey('domoflux')]);
        } catch (RpcException $e) {
            Notice::alert($e->getMessage(), 'danger');
        }
        // Refused, it is not told again either: it would be each time.
        \cache::set(self::TOLD, self::sum());
    }

    /** The core tells no plugin that its API key or Jeedom's port was changed. */
    public static function follow(): void
    {
        if (\cache::byKey(self::TOLD)->getValue('') === self::sum()) {
            return;
        }
        try {
            self::register();
        } catch (AwayException $e) {
            Notice::log('debug', 'callback: ' . $e->getMessage());
        }
    }

    private static function sum(): string
    {
        return hash('sha256', self::url() . ' ' . \jeedom::getApiKey('domoflux'));
    }

    /** Always by loopback: the key goes in clear. */
    public static function url(): string
    {
        $own = (string) \config::byKey('callback', 'domoflux', '');
        if ($own === '') {
            $jeedom = parse_url(\network::getNetworkAccess('internal', 'http:127.0.0.1:port:comp'));
            $jeedom = is_array($jeedom) ? $jeedom : [];
            $own = 'http://127.0.0.1:' . ($jeedom['port'] ?? 80) . rtrim($jeedom['path'] ?? '', '/');
        }
        return $own . '/plugins/domoflux/core/php/jeeDomoflux.php';
    }

    /**
     * Takes what the daemon posts.
     *
     * @return int the HTTP status of the answer
     */
    public static function receive(string $body): int
    {
        $told = json_decode($body, true, 16);
        if (!is_array($told) || !isset($told['key']) || !is_string($told['key']) || !self::isKey($told['key'])) {
            return 401;
        }
        \cache::set(self::HEARD, time());
        $events = isset($told['events']) && is_array($told['events']) ? $told['events'] : [];
        $kinds = array_column($events, 'kind');
        if (in_array('started', $kinds, true)) {
            Daemon::settle();
        } elseif (!empty($told['missed'])) {
            Commands::updateAll();
        } else {
            self::updateThose(array_unique(array_filter(array_column($events, 'flow'), 'is_string')));
        }
        return 200;
    }

    private static function isKey(string $key): bool
    {
        return \jeedom::apiAccess($key, 'domoflux') && hash_equals(\jeedom::getApiKey('domoflux'), $key);
    }

    /** @param string[] $flowIds */
    private static function updateThose(array $flowIds): void
    {
        if (count($flowIds) > self::FEW) {
            Commands::updateAll();
            return;
        }
        foreach ($flowIds as $flowId) {
            $eqLogic = Flows::equipment($flowId);
            if ($eqLogic === null) {
                continue;
            }
            Commands::guarded($eqLogic, static function () use ($eqLogic, $flowId): void {
                try {
                    Commands::update($eqLogic, Rpc::call('flow.status', ['id' => $flowId]), null);
                } catch (AwayException | RpcException $e) {
                    Commands::away($eqLogic);
                }
            });
        }
    }
}
