<?php

class network
{
    public static function getNetworkAccess($_mode = 'auto', $_protocol = '', $_default = '', $_test = false)
    {
        if ($_mode !== 'internal' || $_protocol !== 'http:127.0.0.1:port:comp') {
            throw new Exception('fake core: getNetworkAccess(' . $_mode . ', ' . $_protocol . ')');
        }
        $port = config::byKey('internalPort', 'core', 80);
        return trim('http://127.0.0.1:' . $port . '/' . trim(config::byKey('internalComplement'), '/'), '/');
    }
}
