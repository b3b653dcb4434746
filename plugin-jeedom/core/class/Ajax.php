<?php

declare(strict_types=1);

namespace Domoflux;

/**
 * The questions of the plugin's pages, one method each.
 */
final class Ajax
{
    /** How many lines of the log the page of an equipment asks for. */
    private const LINES = 200;

    private const ACTIONS = ['kinds', 'check', 'probe', 'live', 'restart', 'resync', 'importPreview', 'importApply', 'importUndo'];

    /**
     * @param array<string, mixed> $asked the parameters, all of them texts
     * @return mixed
     * @throws \Exception
     */
    public static function answer(string $action, array $asked)
    {
        if (!in_array($action, self::ACTIONS, true)) {
            throw new \Exception(__('Aucune méthode correspondante à :', __FILE__) . ' ' . $action);
        }
        return self::$action($asked);
    }

    /**
     * @param array<string, mixed> $asked
     * @return array<int, array<string, mixed>>
     */
    private static function kinds(array $asked): array
    {
        return Kinds::all();
    }

    /**
     * @param array<string, mixed> $asked id, kind, spec
     * @return array<string, mixed>
     */
    private static function check(array $asked): array
    {
        $spec = Kinds::spec(self::text($asked, 'spec'));
        try {
            $problems = Kinds::check(self::flowId($asked), self::text($asked, 'kind'), $spec);
            return ['daemon' => true, 'ok' => $problems === [], 'problems' => $problems];
        } catch (AwayException $e) {
            return ['daemon' => false, 'ok' => true, 'problems' => [], 'message' => $e->getMessage()];
        } catch (RpcException $e) {
            return ['daemon' => true, 'ok' => false, 'problems' => $e->problems() ?: [['pointer' => '', 'message' => $e->getMessage()]]];
        }
    }

    /**
     * @param array<string, mixed> $asked id, kind, spec
     * @return array<string, mixed>
     * @throws AwayException
     */
    private static function probe(array $asked): array
    {
        try {
            return Rpc::call('flow.probe', [
                'id' => self::flowId($asked),
                'kind' => self::text($asked, 'kind'),
                'spec' => Kinds::spec(self::text($asked, 'spec')),
            ], 12.0);
        } catch (RpcException $e) {
            if ($e->problems() === []) {
                throw $e;
            }
            return ['findings' => [], 'problems' => $e->problems()];
        }
    }

    /**
     * @param array<string, mixed> $asked id, after
     * @return array<string, mixed>
     */
    private static function live(array $asked): array
    {
        $id = self::flowId($asked);
        $live = ['daemon' => ['ok' => true, 'message' => '', 'version' => ''], 'status' => null, 'counters' => null, 'lines' => []];
        try {
            $lines = ['lines' => self::LINES, 'flow' => $id, 'after' => (int) self::text($asked, 'after')];
            $told = Rpc::batch([
                'hello' => ['daemon.hello', ['client' => 'jeedom-page', 'api' => Rpc::API]],
                'lines' => ['log.tail', $lines],
            ], 2.0);
            $live['daemon']['version'] = $told['hello']['version'];
            $live['daemon']['boot_id'] = $told['hello']['boot_id'];
            $live['lines'] = $told['lines'];
            $told = Rpc::batch(['status' => ['flow.status', ['id' => $id]], 'counters' => ['flow.counters', ['ids' => [$id]]]], 2.0);
            $live['status'] = array_diff_key($told['status'], ['spec' => 1]);
            $live['counters'] = $told['counters'][$id] ?? null;
        } catch (AwayException $e) {
            $live['daemon'] = ['ok' => false, 'message' => $e->getMessage(), 'version' => ''];
        } catch (RpcException $e) {
            if ($e->kind !== 'unknown_flow') {
                $live['daemon']['message'] = $e->getMessage();
            }
        }
        return $live;
    }

    /**
     * @param array<string, mixed> $asked id
     */
    private static function restart(array $asked): string
    {
        Rpc::call('flow.restart', ['id' => self::flowId($asked)]);
        return '';
    }

    /**
     * @param array<string, mixed> $asked
     */
    private static function resync(array $asked): string
    {
        Flows::pushAll();
        Commands::updateAll();
        return '';
    }

    /**
     * @param array<string, mixed> $asked
     * @return array<string, mixed>
     */
    private static function importPreview(array $asked): array
    {
        return ['equipment' => Import::preview(), 'daemon' => Health::daemon()];
    }

    /**
     * @param array<string, mixed> $asked ids
     * @return array<string, mixed>
     */
    private static function importApply(array $asked): array
    {
        return Import::apply(self::ids($asked));
    }

    /**
     * @param array<string, mixed> $asked ids
     * @return array<string, mixed>
     */
    private static function importUndo(array $asked): array
    {
        return Import::undo(self::ids($asked));
    }

    /** @param array<string, mixed> $asked */
    private static function text(array $asked, string $name): string
    {
        return isset($asked[$name]) && is_string($asked[$name]) ? $asked[$name] : '';
    }

    /** @param array<string, mixed> $asked */
    private static function flowId(array $asked): ?string
    {
        $id = self::text($asked, 'id');
        return ctype_digit($id) ? Flows::PREFIX . $id : null;
    }

    /**
     * @param array<string, mixed> $asked
     * @return int[]
     */
    private static function ids(array $asked): array
    {
        $ids = json_decode(self::text($asked, 'ids'), true);
        return array_map('intval', is_array($ids) ? array_filter($ids, 'is_numeric') : []);
    }
}
