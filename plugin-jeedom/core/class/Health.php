<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * How the daemon and its flows are: for the core's health page, the plugin's own, and a question in the forum.
 */
final class Health
{
    /**
     * What is known of the daemon.
     *
     * @return array<string, mixed> ok, message; and if ok: version, uptime (s), memory (KiB), degraded, callback
     */
    public static function daemon(): array
    {
        try {
            $told = Rpc::batch([
                'hello' => ['daemon.hello', ['client' => 'jeedom-plugin', 'api' => Rpc::API]],
                'callback' => ['callback.status'],
            ]);
        } catch (AwayException | RpcException $e) {
            return ['ok' => false, 'message' => $e->getMessage()];
        }
        $hello = $told['hello'];
        $process = (string) @file_get_contents('/proc/' . $hello['pid'] . '/status');
        return [
            'ok' => true,
            'message' => implode(' ; ', $hello['degraded']),
            'version' => $hello['version'],
            'uptime' => $hello['uptime'],
            'memory' => preg_match('/^VmRSS:\s+(\d+)/m', $process, $found) === 1 ? (int) $found[1] : null,
            'callback' => $told['callback'],
        ];
    }

    /** @return array<int, array<string, mixed>> one row for the daemon, one a flow */
    public static function rows(): array
    {
        $daemon = self::daemon();
        $rows = [[
            'test' => __('Démon', __FILE__),
            'result' => self::html($daemon['ok'] ? implode(', ', array_filter([
                $daemon['version'],
                self::duration($daemon['uptime']),
                self::memory($daemon['memory']),
            ])) : 'NOK'),
            'advice' => self::html($daemon['message']),
            'state' => $daemon['ok'] && $daemon['message'] === '',
        ]];
        if ($daemon['ok']) {
            $fails = !empty($daemon['callback']['failing']);
            // At least a sign of life every five minutes.
            $heard = (int) \cache::byKey(Callback::HEARD)->getValue(0);
            $rows[] = [
                'test' => __('Rappel de Jeedom par le démon', __FILE__),
                'result' => ($fails ? 'NOK' : 'OK') . ($heard === 0 ? '' : ', ' . date('Y-m-d H:i:s', $heard)),
                'advice' => $fails ? self::html((string) ($daemon['callback']['last_error']['text'] ?? '')) : '',
                'state' => !$fails,
            ];
        }
        foreach (self::flows() as $flow) {
            if (!$flow['enabled'] || !$flow['configured']) {
                continue;
            }
            $rows[] = [
                'test' => self::html($flow['name']),
                'result' => self::html($flow['state']),
                'advice' => self::html($flow['error']),
                'state' => $flow['ok'],
            ];
        }
        return $rows;
    }

    /**
     * Every equipment and what its flow does.
     *
     * @return array<int, array<string, mixed>> id, name, kind, enabled, configured, ok, state, listening, clients, error, heard
     */
    public static function flows(): array
    {
        $told = [];
        try {
            foreach (Rpc::call('flow.list', ['owner' => Flows::OWNER]) as $status) {
                $told[$status['id']] = $status;
            }
        } catch (AwayException | RpcException $e) {
            Notice::log('debug', $e->getMessage());
        }
        $flows = [];
        foreach (\eqLogic::byType('domoflux') as $eqLogic) {
            if ($eqLogic instanceof \domoflux) {
                $flows[] = self::flow($eqLogic, $told[$eqLogic->flowId()] ?? null);
            }
        }
        return $flows;
    }

    /**
     * @param array<string, mixed>|null $status
     * @return array<string, mixed>
     */
    private static function flow(\domoflux $eqLogic, ?array $status): array
    {
        $enabled = (int) $eqLogic->getIsEnable() === 1;
        $state = __('inconnu du démon', __FILE__);
        if ($status !== null) {
            $state = Commands::stateText((string) $status['state']);
        } elseif ($eqLogic->specText() === '') {
            $state = __('à configurer', __FILE__);
        }
        return [
            'id' => (int) $eqLogic->getId(),
            'name' => $eqLogic->getHumanName(),
            'kind' => Kinds::title($eqLogic->kind()),
            'enabled' => $enabled,
            'configured' => $eqLogic->specText() !== '',
            'ok' => !$enabled || ($status !== null && $status['isListening']),
            'state' => $state,
            'listening' => implode(', ', $status['listening'] ?? []),
            'clients' => $status['connections'] ?? null,
            'error' => $status === null ? '' : Commands::wrong($status),
            'heard' => (string) $eqLogic->getStatus('lastCommunication', ''),
        ];
    }

    /** For a question in the forum: nothing that tells where somebody lives. */
    public static function forCommunity(): string
    {
        $daemon = self::daemon();
        $kinds = [];
        foreach (self::flows() as $flow) {
            $kinds[] = $flow['kind'] . ' (' . ($flow['enabled'] ? ($flow['ok'] ? 'OK' : 'NOK') : 'off') . ')';
        }
        return implode('<br>', array_map([self::class, 'html'], [
            'plugin ' . Setup::wanted() . ', binary ' . (Setup::version() ?: '-') . ', ' . php_uname('m'),
            'daemon ' . ($daemon['ok'] ? $daemon['version'] . ', ' . self::duration($daemon['uptime']) : 'NOK') . ', '
                . (Setup::hasSystemd() ? 'systemd' : 'supervise'),
            'callback ' . (empty($daemon['callback']['failing']) ? 'OK' : 'NOK'),
            'flows: ' . (implode(', ', $kinds) ?: '-'),
        ]));
    }

    /** A time span for a person: its largest unit and the next. */
    public static function duration(int $seconds): string
    {
        if ($seconds < 60) {
            return $seconds . ' s';
        }
        $minutes = intdiv($seconds, 60);
        if ($minutes < 60) {
            return $minutes . ' min';
        }
        $hours = intdiv($minutes, 60);
        return $hours < 24 ? sprintf('%d h %02d min', $hours, $minutes % 60)
            : sprintf('%d %s %02d h', intdiv($hours, 24), __('j', __FILE__), $hours % 24);
    }

    /** @param int|null $kibibytes null: not known */
    public static function memory(?int $kibibytes): string
    {
        return $kibibytes === null ? '' : round($kibibytes / 1024) . ' ' . __('Mio', __FILE__);
    }

    private static function html(string $text): string
    {
        return htmlspecialchars($text, ENT_QUOTES, 'UTF-8');
    }
}
